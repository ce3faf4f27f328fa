// Package anthropic knows the shapes of Anthropic's Messages API: the request
// body, the message that answers it, the events of a stream, and the error
// object.
//
// It turns a chat.Request into InvokeModel's body for Claude (EncodeRequest),
// and Claude's answers into chat events (DecodeResponse, EventDecoder). It is
// pure: it knows neither AWS's paths, frames and signatures, nor what a model
// family can do, nor how the conversation must be cut; bedrock and chat.Tidy
// see to that before it is called. Text that AWS or Anthropic wrote leaves it
// only inside *Error, for bedrock to redact.
//
// Caller: bedrock.
package anthropic
