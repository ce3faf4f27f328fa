package connections_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dataaccesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	descriptorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"aisix/extproc/connections"
)

// door is a Counter behind gRPC, with the two clients that Envoy is.
type door struct {
	*testing.T
	ask  rlsv3.RateLimitServiceClient
	logs alsv3.AccessLogServiceClient

	counter *connections.Counter
	served  <-chan struct{}
	grpc    *grpc.Server

	mu   sync.Mutex
	time time.Time
	said strings.Builder
}

func (d *door) now() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.time
}

func (d *door) pass(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.time = d.time.Add(by)
}

func newDoor(t *testing.T, most int) *door {
	t.Helper()
	d := &door{T: t, time: time.Unix(1_800_000_000, 0)}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	d.counter = connections.New(most, slog.New(slog.NewTextHandler(&d.said, nil)), d.now)
	d.counter.Register(g)
	served := make(chan struct{})
	d.grpc, d.served = g, served
	go func() { defer close(served); g.Serve(l) }() //nolint:errcheck // it ends with Stop
	c, err := grpc.NewClient("unix:"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); g.Stop(); <-served })
	d.ask, d.logs = rlsv3.NewRateLimitServiceClient(c), alsv3.NewAccessLogServiceClient(c)
	return d
}

// takes asks for a connection of peer.
func (d *door) takes(peer string) bool {
	d.Helper()
	r, err := d.ask.ShouldRateLimit(d.Context(), &rlsv3.RateLimitRequest{Domain: "connections", Descriptors: []*descriptorv3.RateLimitDescriptor{
		{Entries: []*descriptorv3.RateLimitDescriptor_Entry{{Key: "address", Value: peer}}},
	}})
	if err != nil {
		d.Fatal(err)
	}
	return r.GetOverallCode() == rlsv3.RateLimitResponse_OK
}

// log is a stream of Envoy's access log.
func (d *door) log(ctx context.Context) alsv3.AccessLogService_StreamAccessLogsClient {
	d.Helper()
	s, err := d.logs.StreamAccessLogs(ctx)
	if err != nil {
		d.Fatal(err)
	}
	return s
}

func ended(t *testing.T, s alsv3.AccessLogService_StreamAccessLogsClient, peer string) {
	t.Helper()
	p := netip.MustParseAddrPort(peer)
	err := s.Send(&alsv3.StreamAccessLogsMessage{LogEntries: &alsv3.StreamAccessLogsMessage_TcpLogs{TcpLogs: &alsv3.StreamAccessLogsMessage_TCPAccessLogEntries{
		LogEntry: []*dataaccesslogv3.TCPAccessLogEntry{{CommonProperties: &dataaccesslogv3.AccessLogCommon{
			DownstreamDirectRemoteAddress: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: p.Addr().String(), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(p.Port())},
			}}},
		}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
}

func (d *door) eventually(happened func() bool, what string) {
	d.Helper()
	for end := time.Now().Add(10 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			d.Fatal(what)
		}
	}
}

func TestEachAddressHasItsOwnConnections(t *testing.T) {
	d := newDoor(t, 3)
	s := d.log(t.Context())
	for _, peer := range []string{
		"203.0.113.1:1", "203.0.113.1:2", "203.0.113.1:3",
		"203.0.113.2:1", "[::ffff:203.0.113.2]:2", "203.0.113.2:3",
		"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "[2001:db8:0:1::1]:1", // the last is of another network
		"[fe80::1%eth0]:1",
	} {
		if !d.takes(peer) {
			t.Errorf("%s is refused", peer)
		}
	}
	for _, peer := range []string{"203.0.113.1:4", "203.0.113.2:4", "[2001:db8::4]:1"} {
		if d.takes(peer) {
			t.Errorf("%s is taken", peer)
		}
	}
	ended(t, s, "203.0.113.1:4") // one that was refused was never counted
	ended(t, s, "203.0.113.1:2")
	d.eventually(func() bool { return d.takes("203.0.113.1:5") }, "room that was made is not given")
	if d.takes("203.0.113.1:6") {
		t.Error("the one that was refused has made room")
	}
	// What is no address is no reason to refuse anybody.
	for range 10 {
		if !d.takes("") || !d.takes("/tmp/socket") || !d.takes("-") {
			t.Error("what has no address is refused")
		}
	}
}

func TestNoLimit(t *testing.T) {
	d := newDoor(t, 0)
	for i := range 100 {
		if !d.takes(fmt.Sprintf("203.0.113.1:%d", i+1)) {
			t.Fatal("refused")
		}
	}
}

// Doubt is in favour of the caller: where ends are lost, nobody stays shut out.
func TestLostEndsShutNobodyOut(t *testing.T) {
	d := newDoor(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	first := d.log(ctx)
	ended(t, first, "203.0.113.9:9")
	if !d.takes("203.0.113.1:1") || d.takes("203.0.113.1:2") {
		t.Fatal("one is the limit")
	}
	d.pass(time.Hour)
	if d.takes("203.0.113.1:2") {
		t.Error("forgotten too early")
	}
	d.pass(time.Second)
	if !d.takes("203.0.113.1:2") || d.takes("203.0.113.1:3") {
		t.Error("an end that was lost counts for more than an hour")
	}
	cancel() // Envoy has gone
	d.eventually(func() bool { return d.takes("203.0.113.1:4") }, "what Envoy took along still counts")
}

// The access log's stream has no end of its own, and holds up no stop.
func TestStopDoesNotWaitForTheLog(t *testing.T) {
	d := newDoor(t, 1)
	s := d.log(t.Context())
	ended(t, s, "203.0.113.9:9")
	if !d.takes("203.0.113.1:1") {
		t.Fatal("refused")
	}
	d.counter.Close()
	d.grpc.GracefulStop()
	<-d.served
}

// Refusals do not fill the log.
func TestRefusalsAreSummedInTheLog(t *testing.T) {
	d := newDoor(t, 1)
	d.takes("203.0.113.1:1")
	for i := range 1000 {
		if d.takes(fmt.Sprintf("203.0.113.1:%d", i+2)) {
			t.Fatal("taken")
		}
	}
	d.pass(time.Second)
	d.takes("203.0.113.1:3")
	if n := strings.Count(d.said.String(), "\n"); n != 2 || !strings.Contains(d.said.String(), "refused=1000") {
		t.Errorf("%d lines: %s", n, d.said.String())
	}
}
