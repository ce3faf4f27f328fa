package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"aisix/cmd/internal/certtest"
	"aisix/cmd/internal/stack"
)

// The chart's pod, run here: it serves, and when it is deleted a running stream ends well, and callers
// who keep their connections are told to leave before they would meet a refusal.
func TestPodOfTheChart(t *testing.T) {
	t.Parallel()
	g := start(t, options{parts: []string{stack.Valkey, stack.Admin}})
	p := newPod(t, "../../../deploy/tools/kube/testdata/sidecar.yaml", "gw-aisix-gateway", g.Config.Redis.URL,
		map[string]string{"master.key": read(t, g.Config.Secrets.MasterKeyFile)})
	if len(p.spec.InitContainers) != 2 || len(p.spec.Containers) != 1 {
		t.Fatalf("%d init containers, %d containers", len(p.spec.InitContainers), len(p.spec.Containers))
	}
	p.start()
	g.proxy = "http://" + p.ports["proxy"]

	release := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "-stream") {
			whole(w, "Hello.")
			return
		}
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		emit(w, "contentBlockDelta", delta("Once upon"))
		select {
		case <-release:
			finish(w)
		case <-r.Context().Done():
		}
	})
	c := g.tenant(t, u.URL, settings{})
	c.served(t)
	p.passes(&probe{GET: &struct{ Path, Port string }{"/stats/prometheus?usedonly", "envoy-metrics"}})
	e := c.stream(t, t.Context(), "A story")
	if _, err := e.next(); err != nil {
		t.Fatal(err)
	}
	keeps := &http.Client{Transport: &http.Transport{}} // its connection
	t.Cleanup(keeps.CloseIdleConnections)
	if closes := asked(t, keeps, c); closes {
		t.Error("a connection ends with its first request")
	}

	// The pod is deleted: first extproc's preStop hook, then its SIGTERM; Envoy's when extproc has ended.
	extproc := p.spec.Containers[0]
	hook := p.command(extproc, slices.Clone(extproc.Lifecycle.PreStop.Exec.Command)...)
	if !slices.Contains(hook.Args, "-lame-duck") {
		t.Fatalf("the hook is %q", hook.Args)
	}
	var says bytes.Buffer
	hook.Stderr = &says
	if err := hook.Start(); err != nil {
		t.Fatal(err)
	}
	hooked := make(chan error, 1)
	go func() { hooked <- hook.Wait() }()
	eventually(t, patience, func() error {
		if !asked(t, keeps, c) {
			return errors.New("while the pod is let go, a kept connection goes on")
		}
		return nil
	})
	c.served(t) // nobody is refused yet
	eventually(t, patience, func() error {
		conn, err := net.Dial("tcp", p.ports["proxy"])
		if err != nil {
			return nil
		}
		conn.Close()
		return errors.New("Envoy takes connections")
	})
	select {
	case err := <-hooked:
		t.Fatalf("the hook ended with a stream open: %v\n%s", err, says.Bytes())
	default:
	}
	if !p.alive("extproc") || !p.alive("envoy") {
		t.Fatal("a process has ended with a stream open")
	}
	close(release)
	all, err := e.rest()
	if err != io.EOF || len(all) == 0 || all[len(all)-1] != "[DONE]" {
		t.Errorf("the stream ended with %q, %v", all, err)
	}
	if err := <-hooked; err != nil {
		t.Errorf("the hook: %v\n%s", err, says.Bytes())
	}
	p.running["extproc"].Process.Signal(syscall.SIGTERM)
	p.ends("extproc")
	if !p.alive("envoy") {
		t.Error("Envoy ended before extproc")
	}
	p.running["envoy"].Process.Signal(syscall.SIGTERM)
	p.ends("envoy")
}

// extproc alone, as mode service has it: an Envoy with a certificate is served, and nobody else is.
func TestPodOfExtprocAlone(t *testing.T) {
	t.Parallel()
	g := start(t, options{parts: []string{stack.Valkey, stack.Admin}})
	cert, key := certtest.New(t)
	p := newPod(t, "../../../deploy/tools/kube/testdata/service.yaml", "gw-aisix-extproc", g.Config.Redis.URL, map[string]string{
		"master.key": read(t, g.Config.Secrets.MasterKeyFile), "tls.crt": read(t, cert), "tls.key": read(t, key), "ca.crt": read(t, cert)})
	if len(p.spec.InitContainers) != 0 || len(p.spec.Containers) != 1 {
		t.Fatalf("%d init containers, %d containers", len(p.spec.InitContainers), len(p.spec.Containers))
	}
	p.start()
	envoy := start(t, options{parts: []string{stack.Envoy}, redis: g.Config.Redis.URL, key: g.Config.Secrets.MasterKeyFile, env: []string{
		"AISIX_EXTPROC__ADDRESSES=" + p.ports["extproc"],
		"AISIX_PROXY__EXTPROC_CA_FILE=" + cert, "AISIX_PROXY__EXTPROC_CERT_FILE=" + cert, "AISIX_PROXY__EXTPROC_KEY_FILE=" + key}})
	g.proxy = envoy.proxy
	g.tenant(t, newUpstream(t, nil).URL, settings{}).served(t)

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(read(t, cert)))
	stranger, err := tls.Dial("tcp", p.ports["extproc"], &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}})
	if err == nil { // TLS 1.3 tells with the first byte
		stranger.SetDeadline(time.Now().Add(patience))
		_, err = stranger.Read(make([]byte, 1))
		stranger.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("somebody without a certificate: %v", err)
	}
	p.running["extproc"].Process.Signal(syscall.SIGTERM)
	p.ends("extproc")
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// asked asks a plain question by that client, and tells whether the connection is to end with it.
func asked(t *testing.T, client *http.Client, c *tenant) (closes bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.proxy+"/v1/chat/completions", strings.NewReader(c.ask("Hello", false)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	r.Header.Set("Content-Type", "application/json")
	a, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if _, err := io.Copy(io.Discard, a.Body); err != nil || a.StatusCode != http.StatusOK {
		t.Errorf("a plain question: %d, %v", a.StatusCode, err)
	}
	return a.Close
}
