// Package exchange is one HTTP request and response, seen through one ext_proc
// stream, as a conversation:
//
//	Header → ReadBody → Forward → Response → Read → Respond → Write → Finish
//
// An answer that needs no upstream skips what it does not need, from Header to
// Respond at least; Reject may come instead of an answer as long as nothing of one
// went out, Abort at any time at all. The
// handler above it is ordinary Go: its state machine is the program counter, and
// the small phase value here only refuses calls out of order.
//
// It knows Envoy's ext_proc messages, and alone in this module does; it knows
// which body mode the mesh runs and hides it. It knows nothing of OpenAI, of AWS
// or of what the bytes mean. Package extproc calls it, once per stream.
//
// # Body modes
//
// The first message of a stream names the modes (protocol_config). Requests may
// be FULL_DUPLEX_STREAMED (the answer to the headers is held until the body is
// known) or BUFFERED (the headers are answered without a change, and everything
// is put into the answer to the body); without protocol_config the former is
// assumed. Responses must be FULL_DUPLEX_STREAMED: a response that streams can't
// be had in another mode. Anything else is ErrMode, but for requests STREAMED and responses
// NONE, of an Envoy that counts tokens: what each call needs is said with it, and a body
// may pass unseen (LetPass, Counted).
//
// In full duplex Envoy runs no message timeout: every wait here ends by the
// context or the deadline that its caller chose, or because the stream ended.
//
// # Filter configuration that this package counts on
//
//	processing_mode: request_body_mode FULL_DUPLEX_STREAMED or BUFFERED,
//	  response_body_mode FULL_DUPLEX_STREAMED, request and response headers SEND,
//	  response trailers SEND (and request trailers, in full duplex)
//	request_attributes:  [source.address], but where a connection manager of ours
//	  overwrites x-envoy-external-address
//	response_attributes: [response.code_details], but where a connection manager of ours
//	  says the same in DetailsHeader
//	mutation_rules that allow x-envoy-* (:path and x-aisix-* are allowed unasked)
//	allow_content_length_header: true (Envoy ≥ 1.38)
//
// # Goroutines
//
// There is none: messages wait in the stream (package rpc), where HTTP/2's flow control
// bounds them and slows Envoy when the handler is slow. All methods belong to one
// goroutine, the handler's, but for SetReadDeadline and Context, which any may call.
package exchange
