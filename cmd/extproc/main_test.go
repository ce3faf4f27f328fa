package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"aisix/admin/store/redistest"
)

func TestRunEndsWithTheFirstSignalWhenNothingIsInFlight(t *testing.T) {
	metrics := free(t)
	signals, ended := make(chan os.Signal, 2), make(chan error, 1)
	env := []string{
		"AISIX_REDIS__URL=" + redistest.Start(t).URL, "AISIX_EXTPROC__ADDRESS=unix:" + t.TempDir() + "/s", "AISIX_METRICS__ADDRESS=" + metrics,
		"AISIX_SECRETS__MASTER_KEY=" + strings.Repeat("ab", 32),
	}
	go func() { ended <- run(nil, env, io.Discard, signals) }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if r, err := http.Get("http://" + metrics + "/metrics"); err == nil {
			r.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no metrics")
		}
	}
	signals <- syscall.SIGTERM
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still runs")
	}
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
