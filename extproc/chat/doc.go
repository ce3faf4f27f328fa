// Package chat is the canonical model of a conversation with a language model:
// the request, its messages and blocks, the events of an answer, and their fold
// into one response; and what a dialect makes of a body and writes of an answer
// (Asked, Writer).
//
// It knows what a conversation may be (Check), what form every model takes it in
// (Tidy; Join after what was left out since), in which order the events of an answer are told
// (Order), and how they add up to one (Collect). It knows neither OpenAI's, Anthropic's nor Bedrock's
// JSON: dialects decode into it, bedrock encodes from it, and both meet nowhere
// else. It is rich enough for Converse and for Anthropic Messages, so that
// nothing is lost on the way.
//
// Callers: the dialects (openai, anthropic), bedrock, and extproc, which moves
// events from one to the other.
package chat
