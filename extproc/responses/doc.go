// Package responses knows the shapes of OpenAI's Responses API.
//
// It turns a chat.Request into the body of a request to an upstream that speaks it
// (EncodeRequest), and what that answers into chat events (DecodeResponse, EventDecoder).
// It is pure: it knows neither hosts nor signatures, nor what a model family can do; bedrock
// and chat.Tidy see to that before it is called. What OpenAI's two APIs have in common is
// package completions'.
//
// Caller: bedrock.
package responses
