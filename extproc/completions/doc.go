// Package completions knows OpenAI's Chat Completions as an upstream speaks them: the body of
// a request (EncodeRequest), the answer that comes back, whole or in chunks
// (DecodeCompletion, EventDecoder), and OpenAI's error object (DecodeError), which its
// Responses API has too. What callers may write is package openai's.
//
// It is pure: it knows neither hosts nor signatures, nor what a model family can do; bedrock
// and chat.Tidy see to that before it is called.
//
// Callers: bedrock, responses.
package completions
