package rpc_test

import (
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"aisix/extproc/rpc"
)

// A connection on which streams begin is asked how late it is; one that is quiet is left alone.
func TestBusyConnectionsAreAskedTheirDelay(t *testing.T) {
	delays := make(chan time.Duration, 100)
	_, address := start(t, rpc.Options{Delayed: func(d time.Duration, _ int) { delays <- d }}, echo{}, healthy{})
	connection := dial(t, address)
	client := extprocv3.NewExternalProcessorClient(connection)
	streams := func(n int) {
		for range n {
			stream, err := client.Process(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(question([]byte("x"))); err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
		}
	}
	streams(15)
	select {
	case d := <-delays:
		t.Errorf("%v was told of a quiet connection", d)
	default:
	}
	streams(1)
	select {
	case d := <-delays:
		if d <= 0 || d > time.Minute {
			t.Errorf("%v", d)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the peer has answered no ping")
	}
}
