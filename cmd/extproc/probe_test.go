package main

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aisix/admin/store/redistest"
)

// probed is an extproc that runs at a socket until stop, and what -probe says of it.
func probed(t *testing.T, socket, lameDuck string) (stop func(), ended chan error, until func(what string, is func(error) bool)) {
	t.Helper()
	setenv(t, "AISIX_REDIS__URL="+redistest.Start(t).URL, "AISIX_EXTPROC__ADDRESS=unix:"+socket, "AISIX_METRICS__ADDRESS=", "AISIX_EXTPROC__LAME_DUCK="+lameDuck,
		"AISIX_SECRETS__MASTER_KEY="+strings.Repeat("ab", 32), "AISIX_USAGE__SPOOL_DIR="+t.TempDir())
	ask := func() error { return run(t.Context(), []string{"-probe"}, io.Discard, io.Discard) }
	until = func(what string, is func(error) bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !is(ask()); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not in time: %s (%v)", what, ask())
			}
		}
	}
	if ask() == nil {
		t.Fatal("healthy without a process")
	}
	ctx, stop := context.WithCancel(t.Context())
	ended = make(chan error, 1)
	go func() { ended <- run(ctx, nil, io.Discard, io.Discard) }()
	until("ready", func(err error) bool { return err == nil })
	return stop, ended, until
}

// A container is healthy while its extproc is ready, and not while it stops.
func TestProbe(t *testing.T) {
	stop, ended, until := probed(t, filepath.Join(t.TempDir(), "s"), "300ms")
	stop()
	until("no longer ready", func(err error) bool { return err != nil })
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// In containers that share a folder, processes of the same id open their sockets side by side: one that waits to
// take over its place loses nothing to another that starts.
func TestSocketsOpenSideBySide(t *testing.T) {
	folder := t.TempDir()
	stop, ended, until := probed(t, filepath.Join(folder, "a"), "1h")
	stop()
	until("no longer ready", func(err error) bool { return err != nil && strings.Contains(err.Error(), "not ready") })

	waits, goOn := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := openSocket(t.Context(), filepath.Join(folder, "a"), func() bool { close(waits); <-goOn; return true })
		first <- err
	}()
	<-waits
	if _, err := openSocket(t.Context(), filepath.Join(folder, "b"), func() bool { return true }); err != nil {
		t.Error(err)
	}
	close(goOn)
	if err := <-first; err != nil {
		t.Fatal(err) // and nothing ends the one that waits for it
	}
	if err := <-ended; err != nil { // the one that was taken over from
		t.Error(err)
	}
}
