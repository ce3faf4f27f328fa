// Package openai is OpenAI's dialect: the shapes of chat completions, of the
// model list and of errors.
//
// It knows which members a chat request may have, what each means in the
// canonical model (chat), which ones are refused by name, and how an answer
// and its stream of chunks are written. It knows neither Bedrock nor any model
// family: what only an upstream can judge is passed on in chat.Request. It does
// no I/O, reads no clock and no configuration.
//
// extproc calls it through its table of operations: Chat and Models are dialects of
// one operation each, API is what they have in common.
package openai
