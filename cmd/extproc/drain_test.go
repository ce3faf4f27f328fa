package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"aisix/admin/store/redistest"
	"aisix/extproc"
)

// While calls drain, the ports are free for the process that comes next; a scraper
// that keeps its connection goes on reading the one that drains.
func TestTheNextProcessStartsWhileCallsDrain(t *testing.T) {
	metrics, socket := free(t), t.TempDir()+"/s"
	setenv(t, "AISIX_EXTPROC__LAME_DUCK=0s",
		"AISIX_REDIS__URL="+redistest.Start(t).URL, "AISIX_EXTPROC__ADDRESS=unix:"+socket, "AISIX_METRICS__ADDRESS="+metrics,
		"AISIX_SECRETS__MASTER_KEY="+strings.Repeat("ab", 32), "AISIX_USAGE__SPOOL_DIR="+t.TempDir())
	start := func() (stop func(), ended chan error) {
		ctx, stop := context.WithCancel(t.Context())
		ended = make(chan error, 1)
		go func() { ended <- run(ctx, nil, io.Discard, io.Discard) }()
		return stop, ended
	}
	var dials atomic.Int32
	scraper := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}
	scrape := func(c *http.Client) bool {
		r, err := c.Get("http://" + metrics + "/metrics")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		return err == nil && r.StatusCode == http.StatusOK && strings.Contains(string(body), "aisix_")
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("not in time: " + what)
			}
		}
	}

	stopFirst, firstEnded := start()
	until("metrics of the first", func() bool { return scrape(scraper) })
	connection, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	call, leave := context.WithCancel(t.Context())
	if _, err := extprocv3.NewExternalProcessorClient(connection).Process(call); err != nil {
		t.Fatal(err)
	}
	// What comes after it on the same connection is answered: the call has begun.
	if _, err := healthv1.NewHealthClient(connection).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	dials.Store(0)
	stopFirst()
	until("both ports are free", func() bool {
		l, err := net.Listen("tcp", metrics)
		if err == nil {
			l.Close()
		}
		return err == nil && !served(socket)
	})

	stopSecond, secondEnded := start()
	until("metrics of the second", func() bool { return scrape(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}) })
	if !scrape(scraper) || dials.Load() != 0 {
		t.Errorf("the first is not scraped while it drains (%d new connections)", dials.Load())
	}
	select {
	case err := <-firstEnded:
		t.Fatalf("ended with a call in flight: %v", err)
	case err := <-secondEnded:
		t.Fatalf("the second ended: %v", err)
	default:
	}
	leave()
	if err := <-firstEnded; err != nil {
		t.Error(err)
	}
	stopSecond()
	if err := <-secondEnded; err != nil {
		t.Error(err)
	}
}

// A process that has been told to stop says so, and serves on, until its time is over or another has
// taken its place: that one comes in as soon as it is ready, and no connection is refused meanwhile.
func TestThePlaceIsHandedOver(t *testing.T) {
	metrics, socket := free(t), t.TempDir()+"/s"
	setenv(t, "AISIX_EXTPROC__LAME_DUCK=1h",
		"AISIX_REDIS__URL="+redistest.Start(t).URL, "AISIX_EXTPROC__ADDRESS=unix:"+socket, "AISIX_METRICS__ADDRESS="+metrics,
		"AISIX_SECRETS__MASTER_KEY="+strings.Repeat("ab", 32))
	start := func() (stop func(), ended chan error) {
		ctx, stop := context.WithCancel(t.Context())
		ended = make(chan error, 1)
		go func() { ended <- run(ctx, nil, io.Discard, io.Discard) }()
		return stop, ended
	}
	ask := func(service string) healthv1.HealthCheckResponse_ServingStatus {
		c, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		answer, err := healthv1.NewHealthClient(c).Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
		if err != nil {
			return healthv1.HealthCheckResponse_UNKNOWN
		}
		return answer.GetStatus()
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("not in time: " + what)
			}
		}
	}
	const serving, not = healthv1.HealthCheckResponse_SERVING, healthv1.HealthCheckResponse_NOT_SERVING
	stopFirst, firstEnded := start()
	until("the first is ready", func() bool { return ask("") == serving })
	if s := ask(extproc.StoppingService); s != not {
		t.Errorf("stopping before it was told: %v", s)
	}
	// Whoever connects, at any time, gets an answer.
	ctx, enough := context.WithCancel(t.Context())
	var answers, refused atomic.Int32
	asking := make(chan struct{})
	go func() {
		defer close(asking)
		for ctx.Err() == nil {
			if ask("") == healthv1.HealthCheckResponse_UNKNOWN {
				refused.Add(1)
			}
			answers.Add(1)
		}
	}()
	stopFirst()
	until("the first is a lame duck", func() bool { return ask("") == not })
	if s := ask(extproc.StoppingService); s != serving {
		t.Errorf("it does not say that it stops: %v", s)
	}
	stopSecond, secondEnded := start()
	until("the second is ready in its place", func() bool { return ask("") == serving })
	if err := <-firstEnded; err != nil { // long before its hour is over
		t.Error(err)
	}
	before := answers.Load()
	until("the second answers", func() bool { return answers.Load() > before+3 })
	enough()
	<-asking
	if refused.Load() != 0 {
		t.Errorf("%d of %d connections were refused", refused.Load(), answers.Load())
	}
	stopSecond()
	until("the second is a lame duck", func() bool { return ask("") == not })
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil { // the second signal
		t.Fatal(err)
	}
	if err := <-secondEnded; err != nil {
		t.Error(err)
	}
}
