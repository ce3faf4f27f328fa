package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"aisix/admin/store"
	"aisix/admin/store/redistest"
	"aisix/cmd/internal/certtest"
)

// process is run in a goroutine.
type process struct {
	t       *testing.T
	address string
	stop    context.CancelFunc
	done    chan error
	log     *lines
}

// lines keeps what is logged, and tells of each line.
type lines struct {
	mutex sync.Mutex
	text  bytes.Buffer
	news  chan string
}

func (l *lines) Write(p []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for line := range bytes.Lines(p) {
		select {
		case l.news <- string(line):
		default:
		}
	}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.text.String()
}

// begin runs admin with some environment, until it listens.
func begin(t *testing.T, env map[string]string) *process {
	t.Helper()
	p := &process{t: t, done: make(chan error, 1), log: &lines{news: make(chan string, 100)}}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	for name, value := range env {
		t.Setenv(name, value)
	}
	go func() { p.done <- run(ctx, nil, io.Discard, p.log) }()
	t.Cleanup(func() { stop(); <-p.done })
	listens := func(line string) bool {
		var event struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &event) != nil || event.Msg != "the Admin API listens" {
			return false
		}
		p.address = event.Address
		return true
	}
	for {
		select {
		case line := <-p.log.news:
			if listens(line) {
				return p
			}
		case err := <-p.done:
			p.done <- err
			for len(p.log.news) > 0 { // it may have listened, and ended at once
				if listens(<-p.log.news) {
					return p
				}
			}
			t.Fatalf("admin ended: %v\n%s", err, p.log)
		case <-time.After(20 * time.Second):
			t.Fatalf("admin does not listen:\n%s", p.log)
		}
	}
}

// end is what run returns, within a time.
func (p *process) end(d time.Duration) error {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err // for the cleanup
		return err
	case <-time.After(d):
		p.t.Fatalf("admin does not end:\n%s", p.log)
		return nil
	}
}

func (p *process) status(client *http.Client, method, path, body string) int {
	p.t.Helper()
	scheme := "http://"
	if client != http.DefaultClient {
		scheme = "https://"
	}
	r, err := http.NewRequest(method, scheme+p.address+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer the-key-of-the-test")
	r.Header.Set("Content-Type", "application/json")
	response, err := client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// until waits for a status; no event tells of it.
func (p *process) until(d time.Duration, path string, status int) {
	p.t.Helper()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		got := p.status(http.DefaultClient, "GET", path, "")
		if got == status {
			return
		}
		if time.Since(start) > d {
			p.t.Fatalf("%s is %d after %v, want %d\n%s", path, got, d, status, p.log)
		}
	}
}

func masterKeyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys", "master.key")
	if err := run(context.Background(), []string{"-create-master-key", path}, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	return path
}

func environment(redisURL, keyFile string) map[string]string {
	return map[string]string{"AISIX_ADMIN__KEY": "the-key-of-the-test", "AISIX_ADMIN__ADDRESS": "127.0.0.1:0", "AISIX_REDIS__URL": redisURL,
		"AISIX_SECRETS__MASTER_KEY_FILE": keyFile}
}

func TestCreateMasterKey(t *testing.T) {
	path := masterKeyFile(t)
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Fatal(info, err)
	}
	first, _ := os.ReadFile(path)
	var wg sync.WaitGroup
	fresh := filepath.Join(filepath.Dir(path), "other.key")
	for range 8 {
		wg.Go(func() {
			for _, path := range []string{path, fresh} {
				if err := run(context.Background(), []string{"-create-master-key", path}, io.Discard, io.Discard); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	again, _ := os.ReadFile(path)
	other, _ := os.ReadFile(fresh)
	if !bytes.Equal(first, again) || bytes.Equal(first, other) || len(other) != len(first) {
		t.Errorf("%q, again %q, other %q", first, again, other)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAStartThatCannotWorkSaysWhatToDo(t *testing.T) {
	server := redistest.Start(t)
	good := masterKeyFile(t)
	broken := filepath.Join(t.TempDir(), "broken.key")
	os.WriteFile(broken, []byte("hunter2"), 0o600)
	public := filepath.Join(t.TempDir(), "public.key")
	os.WriteFile(public, []byte("hunter2"), 0o600)
	os.Chmod(public, 0o644)
	cert, _ := certtest.New(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, x := range map[string]struct {
		env  map[string]string
		args []string
		want string
	}{
		"no master key":        {env: map[string]string{"AISIX_SECRETS__MASTER_KEY_FILE": ""}, want: "admin -create-master-key"},
		"no such file":         {env: map[string]string{"AISIX_SECRETS__MASTER_KEY_FILE": "/nowhere/master.key"}, want: "/nowhere/master.key: no such file or directory: make one with `admin -create-master-key"},
		"a broken file":        {env: map[string]string{"AISIX_SECRETS__MASTER_KEY_FILE": broken}, want: "is not base64 or hex of 32 bytes"},
		"a file for everybody": {env: map[string]string{"AISIX_SECRETS__MASTER_KEY_FILE": public}, want: "(mode 0644): chmod 600 it"},
		"a broken text":        {env: map[string]string{"AISIX_SECRETS__MASTER_KEY_FILE": "", "AISIX_SECRETS__MASTER_KEY": "hunter2"}, want: "secrets.master_key is not base64 or hex of 32 bytes"},
		"no admin key":         {env: map[string]string{"AISIX_ADMIN__KEY": ""}, want: "admin.key"},
		"the sample key":       {env: map[string]string{"AISIX_ADMIN__KEY": "admin-local-only-change-me", "AISIX_ADMIN__ADDRESS": "0.0.0.0:0"}, want: "admin.allow_sample_key"},
		"a short admin key":    {env: map[string]string{"AISIX_ADMIN__KEY": "hunter2"}, want: "admin.key: must have at least 16 characters: make one with `openssl rand"},
		"an address in use":    {env: map[string]string{"AISIX_ADMIN__ADDRESS": taken.Addr().String()}, want: "admin.address: "},
		"a cert without key":   {env: map[string]string{"AISIX_ADMIN__TLS_CERT_FILE": cert}, want: "admin.tls_key_file"},
		"a cert that is none":  {env: map[string]string{"AISIX_ADMIN__TLS_CERT_FILE": broken, "AISIX_ADMIN__TLS_KEY_FILE": broken}, want: "admin.tls_cert_file: "},
		"an unknown key":       {env: map[string]string{"AISIX_ADMIN__COLOUR": "hunter2"}, want: "AISIX_ADMIN__COLOUR"},
		"no such config":       {args: []string{"-config", "/nowhere/config.yaml"}, want: "/nowhere/config.yaml"},
		"an argument":          {args: []string{"start"}, want: `"start"`},
		"a flag":               {args: []string{"-colour"}, want: "-colour"},
	} {
		t.Run(name, func(t *testing.T) {
			env := environment(server.URL, good)
			for name, value := range x.env {
				env[name] = value
			}
			for name, value := range env {
				t.Setenv(name, value)
			}
			var log bytes.Buffer
			err := run(context.Background(), x.args, io.Discard, &log)
			if err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("%v, want %q", err, x.want)
			}
			if text := fmt.Sprint(err, &log); strings.Contains(text, "hunter2") {
				t.Errorf("a value is echoed: %s", text)
			}
		})
	}
}

func TestAnotherMasterKeyEndsTheStart(t *testing.T) {
	server := redistest.Start(t)
	first := begin(t, environment(server.URL, masterKeyFile(t)))
	first.until(5*time.Second, "/readyz", http.StatusOK)
	first.stop()
	if err := first.end(5 * time.Second); err != nil {
		t.Errorf("a stop: %v", err)
	}
	second := begin(t, environment(server.URL, masterKeyFile(t)))
	if err := second.end(5 * time.Second); !errors.Is(err, store.ErrMasterKey) || !strings.Contains(err.Error(), "give admin and extproc the master key that this store was written with") {
		t.Errorf("%v", err)
	}
}

func TestTheMasterKeyIsChanged(t *testing.T) {
	server := redistest.Start(t)
	oldKey, newKey := masterKeyFile(t), masterKeyFile(t)
	first := begin(t, environment(server.URL, oldKey))
	first.until(5*time.Second, "/readyz", http.StatusOK)
	if got := first.status(http.DefaultClient, "POST", "/admin/v1/provider_keys", `{"display_name":"one","secret":"{\"access_key_id\":\"a\",\"secret_access_key\":\"b\",\"region\":\"us-west-2\"}"}`); got != http.StatusCreated {
		t.Fatal(got)
	}
	first.stop()
	first.end(5 * time.Second)

	env := environment(server.URL, newKey)
	env["AISIX_SECRETS__PREVIOUS_MASTER_KEY_FILE"] = oldKey
	second := begin(t, env)
	for !strings.Contains(second.log.String(), `"secrets":1`) {
		select {
		case <-second.log.news:
		case <-time.After(5 * time.Second):
			t.Fatalf("not sealed anew:\n%s", second.log)
		}
	}
	second.stop()
	second.end(5 * time.Second)

	env["AISIX_SECRETS__PREVIOUS_MASTER_KEY_FILE"] = ""
	third := begin(t, env)
	third.until(5*time.Second, "/admin/v1/provider_keys", http.StatusOK)
}

// Started before Redis, admin waits, answers 503, and goes on by itself.
func TestStartBeforeRedis(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	p := begin(t, environment(server.URL, masterKeyFile(t)))
	if got := p.status(http.DefaultClient, "GET", "/livez", ""); got != http.StatusOK {
		t.Errorf("/livez is %d", got)
	}
	for _, path := range []string{"/readyz", "/admin/v1/models", "/admin/v1/health", "/admin/v1/usage"} {
		if got := p.status(http.DefaultClient, "GET", path, ""); got != http.StatusServiceUnavailable {
			t.Errorf("%s is %d", path, got)
		}
	}
	server.Restart()
	p.until(5*time.Second, "/readyz", http.StatusOK)
	if got := p.status(http.DefaultClient, "POST", "/admin/v1/apikeys", `{"allowed_models":[]}`); got != http.StatusCreated {
		t.Errorf("a write is %d", got)
	}
	if !strings.Contains(p.log.String(), "waiting for Redis") {
		t.Errorf("the log does not say what is waited for: %s", p.log)
	}
}

// The first signal lets a request in flight end.
func TestGracefulStop(t *testing.T) {
	server := redistest.Start(t)
	p := begin(t, environment(server.URL, masterKeyFile(t)))
	p.until(5*time.Second, "/readyz", http.StatusOK)
	c, err := net.Dial("tcp", p.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	const body = `{"allowed_models":[]}`
	fmt.Fprintf(c, "POST /admin/v1/apikeys HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer the-key-of-the-test\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", len(body))
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "100") { // the handler waits for the body
		t.Fatal(line, err)
	}
	r.ReadString('\n')
	p.stop()
	for start := time.Now(); ; time.Sleep(time.Millisecond) { // no event tells that the listener is closed
		another, err := net.Dial("tcp", p.address)
		if err != nil {
			break
		}
		another.Close()
		if time.Since(start) > 5*time.Second {
			t.Fatal("still listens")
		}
	}
	io.WriteString(c, body)
	response, err := http.ReadResponse(r, nil)
	if err != nil || response.StatusCode != http.StatusCreated {
		t.Fatalf("the request in flight: %v, %v", response, err)
	}
	if err := p.end(5 * time.Second); err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	server := redistest.Start(t)
	cert, key := certtest.New(t)
	env := environment(server.URL, masterKeyFile(t))
	env["AISIX_ADMIN__TLS_CERT_FILE"], env["AISIX_ADMIN__TLS_KEY_FILE"] = cert, key
	p := begin(t, env)
	pem, _ := os.ReadFile(cert)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	if got := p.status(&http.Client{Transport: transport}, "GET", "/livez", ""); got != http.StatusOK {
		t.Errorf("over TLS: %d", got)
	}
	if _, err := http.Get("https://" + p.address + "/livez"); err == nil {
		t.Error("trusted without its CA")
	}
	old := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11}}
	if _, err := (&http.Client{Transport: old}).Get("https://" + p.address + "/livez"); err == nil {
		t.Error("TLS 1.1 is taken")
	}
	if r, err := http.Get("http://" + p.address + "/livez"); err == nil && r.StatusCode == http.StatusOK {
		t.Error("served in plaintext")
	}
}
