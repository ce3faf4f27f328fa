// Package connections counts callers' open connections by their address, since no
// Envoy (1.36 to 1.40) can: its limits of connections are for all callers alike.
//
// Envoy asks before it takes a connection (the network filter ratelimit, by
// Envoy's protocol for such services) and tells when one has ended (the listener's
// access log, over gRPC). It knows nothing of requests. cmd/extproc registers it
// beside the ext_proc service; package envoy writes the other end, where
// proxy.max_connections_per_address is set.
//
// Where the count is in doubt, the caller gets in: an Envoy that ends takes all its
// connections along, and one that is not told to have ended counts for an hour.
package connections

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// forgotten is after how long a connection no longer counts: a word of its end may
	// have been lost.
	forgotten = time.Hour
	// between two log lines of refusals.
	between = time.Second
)

// Counter counts. Its methods are Envoy's to call, from any goroutine.
type Counter struct {
	rlsv3.UnimplementedRateLimitServiceServer
	alsv3.UnimplementedAccessLogServiceServer

	most   int
	log    *slog.Logger
	now    func() time.Time
	closed chan struct{}

	mu      sync.Mutex
	open    map[netip.Prefix]map[netip.AddrPort]time.Time // since when
	logs    int                                           // streams of Envoy's access log
	refused int                                           // since the last log line
	said    time.Time
}

// New counts up to most connections of one address, 0: any number. now may be nil:
// time.Now.
func New(most int, log *slog.Logger, now func() time.Time) *Counter {
	if now == nil {
		now = time.Now
	}
	return &Counter{most: most, log: log, now: now, closed: make(chan struct{}), open: map[netip.Prefix]map[netip.AddrPort]time.Time{}}
}

// Register adds both services to a gRPC server that does not serve yet.
func (c *Counter) Register(g grpc.ServiceRegistrar) {
	rlsv3.RegisterRateLimitServiceServer(g, c)
	alsv3.RegisterAccessLogServiceServer(g, c)
}

// Close ends the streams of the access log, which Envoy never would, so that a
// server that stops need not wait for them. Once.
func (c *Counter) Close() { close(c.closed) }

// ShouldRateLimit is Envoy's question whether to take a connection. The one entry
// of the one descriptor is who connects, as address:port.
func (c *Counter) ShouldRateLimit(ctx context.Context, q *rlsv3.RateLimitRequest) (*rlsv3.RateLimitResponse, error) {
	code := rlsv3.RateLimitResponse_OK
	for _, d := range q.GetDescriptors() {
		for _, e := range d.GetEntries() {
			if peer, err := netip.ParseAddrPort(e.GetValue()); err == nil && !c.take(ctx, peer) {
				code = rlsv3.RateLimitResponse_OVER_LIMIT
			}
		}
	}
	return &rlsv3.RateLimitResponse{OverallCode: code}, nil
}

// take counts a connection, unless there are too many of its address.
func (c *Counter) take(ctx context.Context, peer netip.AddrPort) bool {
	if c.most <= 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	who, now := address(peer), c.now()
	open := c.open[who]
	if len(open) >= c.most {
		for peer, since := range open {
			if now.Sub(since) > forgotten {
				delete(open, peer)
			}
		}
	}
	if len(open) >= c.most {
		c.refuse(who, now)
		return false
	}
	if ctx.Err() != nil { // it has ended already, and Envoy may have said so
		return true
	}
	if open == nil {
		open = map[netip.AddrPort]time.Time{}
		c.open[who] = open
	}
	open[peer] = now
	return true
}

func (c *Counter) refuse(who netip.Prefix, now time.Time) {
	c.refused++
	if now.Sub(c.said) < between {
		return
	}
	c.log.Warn("connections refused: their address has proxy.max_connections_per_address open", "address", who.String(), "limit", c.most, "refused", c.refused)
	c.refused, c.said = 0, now
}

// StreamAccessLogs is Envoy's word of connections that have ended.
func (c *Counter) StreamAccessLogs(stream alsv3.AccessLogService_StreamAccessLogsServer) error {
	c.follow(1)
	defer c.follow(-1)
	ended := make(chan error, 1)
	go func() { ended <- c.read(stream) }() // returning ends the stream, and this
	select {
	case err := <-ended:
		return err
	case <-c.closed:
		return status.Error(codes.Unavailable, "extproc stops")
	}
}

func (c *Counter) read(stream alsv3.AccessLogService_StreamAccessLogsServer) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, e := range m.GetTcpLogs().GetLogEntry() {
			s := e.GetCommonProperties().GetDownstreamDirectRemoteAddress().GetSocketAddress()
			if ip, err := netip.ParseAddr(s.GetAddress()); err == nil {
				c.release(netip.AddrPortFrom(ip, uint16(s.GetPortValue())))
			}
		}
	}
}

// follow counts the streams of the access log. Where the last one ends, the ends of
// connections are lost, and the connections with them: Envoy may have gone.
func (c *Counter) follow(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logs += n; c.logs == 0 {
		clear(c.open)
	}
}

func (c *Counter) release(peer netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	who := address(peer)
	open := c.open[who]
	if delete(open, peer); len(open) == 0 {
		delete(c.open, who)
	}
}

// address is what counts as one: of IPv6 the network, of which one machine may
// have all addresses.
func address(peer netip.AddrPort) netip.Prefix {
	ip := peer.Addr().WithZone("").Unmap()
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // an address without bits has no prefix: all such are one
	}
	return p
}
