// Package rpc is a gRPC server for what Envoy asks of its sidecar: few connections,
// very many short streams of small messages, where the hand-overs between goroutines
// cost more than all else.
//
// grpc-go hands each message from a goroutine that reads to one that serves to one
// that writes. Here the connection's goroutine reads frames (golang.org/x/net/http2)
// and puts whole messages where the stream's goroutine finds them; what a stream says
// it writes itself, and a writer takes along what others have said meanwhile. Measured
// in docs/performance.md.
//
// It serves the services that protoc-gen-go-grpc generates, unary and streaming, with
// grpc-go's own types for their description, status and codes. What Envoy does not use
// is not there: compression, metadata, interceptors, and reflection. Whoever may
// connect is trusted as far as Envoy is (docs/operations.md, "Who may talk to what"):
// a peer that breaks HTTP/2 loses its connection, and what one may make this process
// hold is bounded.
//
// It knows nothing of ext_proc. Package extproc registers its services here, and
// exchange waits for the messages of a stream through Waiter.
package rpc
