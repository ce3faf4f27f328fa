package extproc

import (
	"context"
	"crypto/tls"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"aisix/extproc/rpc"
)

// streamWindow is what may wait here unread and uncounted, for each call in flight. So it
// is the least that there is; a message that is larger, and waited for, widens it.
const streamWindow = 64 << 10

// GRPC registers the server on a gRPC server of its own, with limits above the
// body's: Envoy sends a buffered body in one message.
func (s *Server) GRPC(tls *tls.Config) *rpc.Server {
	g := rpc.NewServer(rpc.Options{TLS: tls, MaxMessage: int(s.Config.MaxBodyBytes) + 1<<20, StreamWindow: streamWindow, Delayed: func(d time.Duration, begun int) { s.room.pressure.Observe(d, begun, s.Now()) }})
	extprocv3.RegisterExternalProcessorServer(g, s)
	healthv1.RegisterHealthServer(g, health{server: s})
	return g
}

// StoppingService is what the next process asks the health of: it serves where this one
// has been told to stop.
const StoppingService = "aisix.stopping"

// health tells Envoy, and an orchestrator that probes by gRPC, what /readyz tells the others.
type health struct {
	healthv1.UnimplementedHealthServer
	server *Server
}

func (h health) Check(_ context.Context, r *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	serves := h.server.Ready()
	if r.GetService() == StoppingService {
		serves = h.server.draining.Load()
	}
	if serves {
		return &healthv1.HealthCheckResponse{Status: healthv1.HealthCheckResponse_SERVING}, nil
	}
	return &healthv1.HealthCheckResponse{Status: healthv1.HealthCheckResponse_NOT_SERVING}, nil
}
