package e2e

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
	"net/http"
	"strings"
	"testing"
	"time"
)

// answer is an HTTP answer, read whole.
type answer struct {
	status int
	header http.Header
	body   string
}

// fault is the error object of a.
func (a answer) fault() (kind, code, param string) {
	var o struct {
		Error *struct {
			Message, Type string
			Code, Param   *string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &o); err != nil || o.Error == nil || o.Error.Message == "" {
		return "no error object: " + a.body, "", ""
	}
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	return o.Error.Type, text(o.Error.Code), text(o.Error.Param)
}

// want fails unless a is an error of that status and type, in the contract's shape.
func (a answer) want(t *testing.T, status int, kind string) {
	t.Helper()
	if got, _, _ := a.fault(); a.status != status || got != kind {
		t.Errorf("got %d %s, want %d %s", a.status, a.body, status, kind)
	}
	if a.header.Get("x-aisix-request-id") == "" || a.header.Get("content-type") != "application/json" {
		t.Errorf("%d without request id or content type: %v", a.status, a.header)
	}
}

// client is every caller's; a connection per request, so that tests do not share any.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}

// do sends one request and reads its answer.
func do(ctx context.Context, method, url, key, body string, header ...string) (answer, error) {
	response, err := open(ctx, method, url, key, body, header...)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(b)}, err
}

// open sends one request.
func open(ctx context.Context, method, url, key, body string, header ...string) (*http.Response, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return nil, err
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return client.Do(r)
}

// manage sends one request to the Admin API.
func (g *gateway) manage(ctx context.Context, method, path string, value any) (answer, error) {
	body := ""
	if value != nil {
		b, err := json.Marshal(value)
		if err != nil {
			return answer{}, err
		}
		body = string(b)
	}
	return do(ctx, method, g.admin+path, adminKey, body)
}

// create makes a resource and gives its id.
func (g *gateway) create(t *testing.T, kind string, value map[string]any) string {
	t.Helper()
	a, err := g.manage(t.Context(), http.MethodPost, "/admin/v1/"+kind, value)
	if err != nil {
		t.Fatal(err)
	}
	var entry struct{ ID string }
	if json.Unmarshal([]byte(a.body), &entry) != nil || a.status != http.StatusCreated {
		t.Fatalf("create %s: %d %s", kind, a.status, a.body)
	}
	return entry.ID
}

// tenant is one test's upstream, model and API key on a gateway that it shares.
type tenant struct {
	*gateway
	key      string // plaintext
	keyID    string
	alias    string
	modelID  string
	upstream string // api_base
}

// settings are further members of a tenant's resources.
type settings struct {
	id    string // the model id; "" is Nova's, which goes to Converse
	model map[string]any
	key   map[string]any
	// of its provider key; "" is the page's
	secret string
}

// unique is a name that begins so and that no other test, nor another run of this one, has made.
func unique(name string) string {
	return name + hex.EncodeToString(sum(name + time.Now().String())[:4])
}

// tenant makes a provider key for the upstream, a model and an API key, and waits until they are in
// force.
func (g *gateway) tenant(t *testing.T, upstream string, s settings) *tenant {
	t.Helper()
	name := unique(strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(t.Name(), "Test"), "/", "-")))
	c := &tenant{gateway: g, key: "sk-" + name, alias: name, upstream: upstream}
	provider := g.create(t, "provider_keys", map[string]any{"display_name": name, "api_base": upstream,
		"secret": cmp.Or(s.secret, `{"access_key_id":"YOUR_AWS_ACCESS_KEY_ID","secret_access_key":"YOUR_AWS_SECRET_ACCESS_KEY","region":"us-west-2"}`)})
	if s.id == "" {
		s.id = nova
	}
	c.modelID = g.create(t, "models", merge(map[string]any{"display_name": name, "model_name": s.id, "provider_key_id": provider}, s.model))
	c.keyID = g.create(t, "apikeys", merge(map[string]any{"key_hash": hex.EncodeToString(sum(c.key)), "allowed_models": []string{name}}, s.key))
	c.inForce(t)
	return c
}

// inForce waits until the proxy knows the key and the model.
func (c *tenant) inForce(t *testing.T) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		a, err := do(t.Context(), http.MethodGet, c.proxy+"/v1/models/"+c.alias, c.key, "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
}

func sum(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}

func merge(a, b map[string]any) map[string]any {
	for k, v := range b {
		a[k] = v
	}
	return a
}

// ask is a chat request's body.
func (c *tenant) ask(text string, stream bool) string {
	b, err := json.Marshal(map[string]any{"model": c.alias, "stream": stream, "messages": []any{map[string]any{"role": "user", "content": text}}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// chat asks and reads the whole answer.
func (c *tenant) chat(ctx context.Context, text string, header ...string) (answer, error) {
	return do(ctx, http.MethodPost, c.proxy+"/v1/chat/completions", c.key, c.ask(text, false), header...)
}

// served fails unless a plain question is answered.
func (c *tenant) served(t *testing.T) {
	t.Helper()
	a, err := c.chat(t.Context(), "Hello")
	if err != nil || a.status != http.StatusOK || !strings.Contains(a.body, `"finish_reason":"stop"`) {
		t.Errorf("a plain question: %d %s, %v", a.status, a.body, err)
	}
}

// events is a stream of a chat, event by event.
type events struct {
	*http.Response
	lines *bufio.Scanner
}

// stream asks for a stream, and fails unless it begins.
func (c *tenant) stream(t *testing.T, ctx context.Context, text string) *events {
	t.Helper()
	response, err := open(ctx, http.MethodPost, c.proxy+"/v1/chat/completions", c.key, c.ask(text, true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("content-type"), "text/event-stream") {
		b, _ := io.ReadAll(response.Body)
		t.Fatalf("stream: %d %v %s", response.StatusCode, response.Header, b)
	}
	e := &events{Response: response, lines: bufio.NewScanner(response.Body)}
	e.lines.Buffer(nil, 1<<20)
	return e
}

// next is the next event's data, or the next comment with its colon; io.EOF at a clean end.
func (e *events) next() (string, error) {
	for e.lines.Scan() {
		line := e.lines.Bytes()
		if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			return string(data), nil
		}
		if len(line) > 0 {
			return string(line), nil
		}
	}
	if err := e.lines.Err(); err != nil {
		return "", err
	}
	return "", io.EOF
}

// rest is all that still comes, and how it ended.
func (e *events) rest() (all []string, err error) {
	for {
		data, err := e.next()
		if err != nil {
			return all, err
		}
		all = append(all, data)
	}
}
