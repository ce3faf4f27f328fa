package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"aisix/cmd/internal/config"
)

// probe is -probe: it asks the extproc at extproc.address whether it is ready, as Envoy does, and is
// for the health checks of containers.
func probe(ctx context.Context, c config.Extproc) error {
	if c.TLSCertFile != "" {
		return errors.New("-probe asks without TLS, and extproc.tls_cert_file is set: have the orchestrator's own gRPC probe ask")
	}
	network, address := c.Network()
	if network == "unix" {
		address = "unix:" + address
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	answer, err := healthv1.NewHealthClient(connection).Check(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if s := answer.GetStatus(); s != healthv1.HealthCheckResponse_SERVING {
		return fmt.Errorf("not ready: %s", s)
	}
	return nil
}
