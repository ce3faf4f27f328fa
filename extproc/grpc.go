package extproc

import (
	"context"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
)

// Windows and buffers are fixed, so that gRPC sends no BDP pings. A stream's window
// is what may wait here unread and uncounted, for each call in flight: gRPC gives
// the connection's back as bytes come, read or not. So it is the least that gRPC
// takes; for a message that is larger, and waited for, gRPC widens it by itself, so
// that bodies of 9 MB come no more slowly than with 1 MiB (measured).
const (
	streamWindow     = 64 << 10
	connectionWindow = 16 << 20
	buffer           = 64 << 10
)

// workers are goroutines that serve one stream after the other: their stacks have
// grown. Streams beyond them get a goroutine each.
const workers = 64

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
		grpc.NumStreamWorkers(workers),
		// Envoy pings, so that a process that hangs is found out. How often is Envoy's to
		// say; gRPC's own policy would end the connection, and all its calls.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Nanosecond, PermitWithoutStream: true}),
	)
	g := grpc.NewServer(options...)
	extprocv3.RegisterExternalProcessorServer(g, s)
	healthv1.RegisterHealthServer(g, health{server: s})
	return g
}

// health tells an orchestrator that probes by gRPC what /readyz tells the others.
type health struct {
	healthv1.UnimplementedHealthServer
	server *Server
}

func (h health) Check(context.Context, *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	if h.server.Ready() {
		return &healthv1.HealthCheckResponse{Status: healthv1.HealthCheckResponse_SERVING}, nil
	}
	return &healthv1.HealthCheckResponse{Status: healthv1.HealthCheckResponse_NOT_SERVING}, nil
}
