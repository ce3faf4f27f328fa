package extproc

import (
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// Windows and buffers are fixed, so that gRPC sends no BDP pings.
const (
	streamWindow     = 1 << 20
	connectionWindow = 16 << 20
	buffer           = 64 << 10
)

// GRPC registers the server on a gRPC server of its own, with limits above the
// body's: Envoy sends a buffered body in one message, and gRPC's default of
// 4 MiB would cut it off.
func (s *Server) GRPC(options ...grpc.ServerOption) *grpc.Server {
	options = append(options,
		grpc.MaxRecvMsgSize(int(s.Config.MaxBodyBytes)+1<<20),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connectionWindow),
		grpc.ReadBufferSize(buffer),
		grpc.WriteBufferSize(buffer),
	)
	g := grpc.NewServer(options...)
	extprocv3.RegisterExternalProcessorServer(g, s)
	h := health.NewServer()
	h.SetServingStatus("", healthv1.HealthCheckResponse_SERVING)
	healthv1.RegisterHealthServer(g, h)
	return g
}
