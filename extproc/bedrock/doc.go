// Package bedrock is AWS Bedrock as an upstream: model ids and their families,
// Converse and InvokeModel requests and replies, event stream frames,
// exceptions, and signatures.
//
// It compiles a model once (Compile), turns a chat.Request into one signed HTTP
// request for it (NewCall, Call.Sign), and what Bedrock answers into chat.Events
// (Signed.Reply, Reply.Whole, Reply.Events) or a fault.Error (Reply.Fault). All
// of these are values: a call can be tried again, by whichever way. It opens no connection, reads no clock and logs
// nothing: extproc moves the bytes, through Envoy or an HTTP client of its own.
// It knows no caller's dialect; Anthropic's Messages JSON, which InvokeModel
// carries, is package anthropic's.
//
// The AWS SDK is used for its types, its schemas and its codec of replies (wire.go and
// writejson.go alone know those), never for its client. Requests are written and signed
// (sigv4) without its serializer and signer, to which tests hold them.
//
// Caller: extproc.
package bedrock
