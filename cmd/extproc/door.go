package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"aisix/cmd/internal/config"
	"aisix/extproc"
)

const (
	// look is how often a process looks whether the other one has made its next step.
	look = 20 * time.Millisecond
	// handOver is how long the old process still takes connections once the new one does: Envoy may
	// have made one a moment before.
	handOver = 100 * time.Millisecond
)

// door is where Envoy comes in: a listener that a process which stops hands over to the one that
// comes after it, so that there is always one to connect to. A socket's path is only ever replaced,
// by a rename, and never removed: nobody else's is taken away by mistake, and a path that a dead
// process left is replaced by the next one.
type door struct {
	net.Listener
	path string      // of the socket; empty: TCP
	file os.FileInfo // of the socket
}

// open listens at the configured address. Where a process that is stopping still serves it, a socket
// is taken over from it as soon as ready says so, and a port as soon as it is given back. One that is
// not stopping is left alone.
func open(ctx context.Context, c config.Extproc, ready func() bool) (*door, error) {
	network, address := c.Network()
	if network == "unix" {
		return openSocket(ctx, address, ready)
	}
	for {
		l, err := net.Listen(network, address)
		if err == nil {
			return &door{Listener: l}, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || c.TLSCertFile != "" || !stopping(ctx, address) {
			return nil, err
		}
		if err := pause(ctx, look); err != nil {
			return nil, err
		}
	}
}

// openSocket makes the socket beside its place, for this user and its group (the folder's group, where
// the folder is set-group-ID), and moves it there.
func openSocket(ctx context.Context, path string, ready func() bool) (*door, error) {
	folder := filepath.Dir(path)
	if _, err := os.Stat(folder); err != nil {
		return nil, fmt.Errorf("the folder of the socket: %w; make it, writable for extproc and open to Envoy's group, or choose another address", err)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket == 0 {
		return nil, fmt.Errorf("listen unix %s: the file there is no socket", path)
	}
	old := served(path)
	if old && !stopping(ctx, "unix:"+path) {
		return nil, fmt.Errorf("listen unix %s: another process serves it", path)
	}
	// By its own name: in containers that share the folder, each process has the same id.
	beside := filepath.Join(folder, "."+filepath.Base(path)+strconv.Itoa(os.Getpid()))
	if err := os.Remove(beside); err != nil && !errors.Is(err, os.ErrNotExist) { // of a process that had this id
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: beside, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	d := &door{Listener: l, path: path}
	fail := func(err error) (*door, error) {
		l.Close()
		os.Remove(beside)
		return nil, err
	}
	if err := os.Chmod(beside, 0o660); err != nil {
		return fail(err)
	}
	if d.file, err = os.Lstat(beside); err != nil {
		return fail(err)
	}
	for old && !ready() { // it serves meanwhile
		if err := pause(ctx, look); err != nil {
			return fail(err)
		}
		old = served(path)
	}
	if err := os.Rename(beside, path); err != nil {
		return fail(err)
	}
	return d, nil
}

// lameDuck returns when new calls go elsewhere: to another extproc, after so long a time, or through
// this door to the next process, which has taken it over.
func (d *door) lameDuck(hurry context.Context, long time.Duration) {
	until, cancel := context.WithTimeout(hurry, long)
	defer cancel()
	for !d.takenOver() {
		if pause(until, look) != nil {
			return
		}
	}
	_ = pause(hurry, handOver)
}

func (d *door) takenOver() bool {
	if d.path == "" {
		return false
	}
	info, err := os.Lstat(d.path)
	return err == nil && !os.SameFile(info, d.file)
}

// served reports whether somebody takes connections at a socket.
func served(path string) bool {
	c, err := net.Dial("unix", path)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// stopping asks who serves an address whether it is an extproc that stops.
func stopping(ctx context.Context, address string) bool {
	c, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return false
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	answer, err := healthv1.NewHealthClient(c).Check(ctx, &healthv1.HealthCheckRequest{Service: extproc.StoppingService})
	return err == nil && answer.GetStatus() == healthv1.HealthCheckResponse_SERVING
}

// pause waits, and returns an error where ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
