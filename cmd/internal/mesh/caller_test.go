package mesh

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// client makes a connection per request, so that no answer hangs on another's.
var client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}

// answer is an HTTP answer, read whole.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) String() string { return fmt.Sprintf("%d %v %.300s", a.status, a.header, a.body) }

// wantError fails unless a is an error of that status and type, in the contract's shape.
func (a answer) wantError(t *testing.T, status int, kind string) {
	t.Helper()
	var o struct {
		Error struct{ Message, Type string }
	}
	err := json.Unmarshal([]byte(a.body), &o)
	if err != nil || a.status != status || o.Error.Type != kind || o.Error.Message == "" || a.header.Get("content-type") != "application/json" {
		t.Errorf("got %v, want %d %s in our JSON shape", a, status, kind)
	}
	if a.header.Get("x-aisix-request-id") == "" {
		t.Errorf("no request id: %v", a)
	}
}

// caller is someone with an API key and models: "plain" goes to the recorder of Bedrock, "tls" to the
// same over TLS, "dead" to where nobody listens; of the targets of "two" the first is dead.
type caller struct {
	*attachment
	key, plain, tls, dead, two string
}

var tenants atomic.Int32

// tenant makes them.
func (a *attachment) tenant(t *testing.T) *caller {
	t.Helper()
	name := fmt.Sprintf("t%d", tenants.Add(1))
	c := &caller{attachment: a, key: "sk-caller-" + name, plain: name + "-plain", tls: name + "-tls", dead: name + "-dead", two: name + "-two"}
	models, providers := []string{c.plain, c.tls, c.dead}, map[string]string{}
	for i, base := range []string{a.bedrock.URL, a.attachmentTLS(), "http://" + cmp.Or(a.loopback, "127.0.0.1") + ":9"} {
		provider := a.create(t, "provider_keys", map[string]any{"display_name": models[i], "api_base": base,
			"secret": `{"access_key_id":"YOUR_AWS_ACCESS_KEY_ID","secret_access_key":"YOUR_AWS_SECRET_ACCESS_KEY","region":"us-west-2"}`})
		a.create(t, "models", map[string]any{"display_name": models[i], "model_name": "amazon.nova-pro-v1:0", "provider_key_id": provider})
		providers[models[i]] = provider
	}
	a.create(t, "models", map[string]any{"display_name": c.two, "targets": []any{
		map[string]any{"name": "dead", "model_name": "amazon.nova-pro-v1:0", "provider_key_id": providers[c.dead]},
		map[string]any{"name": "well", "model_name": "amazon.nova-pro-v1:0", "provider_key_id": providers[c.plain], "priority": 1},
	}})
	hash := sha256.Sum256([]byte(c.key))
	a.create(t, "apikeys", map[string]any{"key_hash": hex.EncodeToString(hash[:]), "allowed_models": append(models, c.two)})
	return c
}

func (a *attachment) attachmentTLS() string { return a.tls.URL }

// create makes a resource and gives its id.
func (b *backend) create(t *testing.T, kind string, value map[string]any) string {
	t.Helper()
	j, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, b.AdminURL()+"/admin/v1/"+kind, bytes.NewReader(j))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminKey)
	r.Header.Set("Content-Type", "application/json")
	a := send(t, r)
	var entry struct{ ID string }
	if json.Unmarshal([]byte(a.body), &entry) != nil || a.status != http.StatusCreated {
		t.Fatalf("create %s: %v", kind, a)
	}
	return entry.ID
}

func send(t *testing.T, r *http.Request) answer {
	t.Helper()
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, response)
}

func read(t *testing.T, response *http.Response) answer {
	t.Helper()
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%d %v %.300q: %v", response.StatusCode, response.Header, b, err)
	}
	return answer{response.StatusCode, response.Header, string(b)}
}

// request is one to the Envoy, for a host there; header is "name", "value", …
func (a *attachment) request(t *testing.T, ctx context.Context, method, host, path, body string, header ...string) *http.Request {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+a.address+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// call sends one with the caller's key, to the gateway.
func (c *caller) call(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	return send(t, c.request(t, t.Context(), method, c.domain, path, body, append([]string{"Authorization", "Bearer " + c.key}, header...)...))
}

// ask is a chat request's body.
func ask(model, text string, stream bool) string {
	b, err := json.Marshal(map[string]any{"model": model, "stream": stream, "messages": []any{map[string]any{"role": "user", "content": text}}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (c *caller) chat(t *testing.T, model, text string, header ...string) answer {
	t.Helper()
	return c.call(t, http.MethodPost, "/v1/chat/completions", ask(model, text, false), header...)
}

// ready waits until the gateway is.
func (a *attachment) ready(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		response, err := client.Do(a.request(t, t.Context(), http.MethodGet, a.domain, "/readyz", ""))
		if err != nil {
			return err
		}
		if got := read(t, response); got.status != http.StatusOK {
			return fmt.Errorf("/readyz: %v", got)
		}
		return nil
	})
}

// raw sends bytes as they are and gives the connection, and the answer's head.
func (a *attachment) raw(t *testing.T, text string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	c, err := net.Dial("tcp", a.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("%.80q: %v", text, err)
	}
	return c, r, response
}

// eventually waits until check says nothing is missing, and fails with what was.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("not within %v: %v", patience, err)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
