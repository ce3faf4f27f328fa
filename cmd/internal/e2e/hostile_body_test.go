package e2e

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"aisix/cmd/internal/stack"
)

// hostile is a body of few bytes, compressed, that costs much where nobody counts.
type hostile struct {
	more  string // members of the request beside the model
	param string // what the 400 names begins so
	says  string // the bound
}

const question = `"messages":[{"role":"user","content":"Hello"}]`

// ofTool and ofFormat put a schema where callers do.
func ofTool(schema string, strict bool) string {
	return fmt.Sprintf(`%s,"tools":[{"type":"function","function":{"name":"f","strict":%t,"parameters":%s}}]`, question, strict, schema)
}

func ofFormat(schema string) string {
	return question + `,"response_format":{"type":"json_schema","json_schema":{"name":"f","schema":` + schema + `}}`
}

func items(n int, item func(i int) string) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(item(i))
	}
	return b.String()
}

func hostileBodies() map[string]hostile {
	pointer := func(tokens int) string {
		return `{"type":"object","properties":{"r":{"$ref":"#` + strings.Repeat("/a", tokens) + `"}}}`
	}
	doubling := `{"type":"object","properties":{"a":{"$ref":"#/$defs/0"}},"$defs":{` +
		items(15, func(i int) string {
			return fmt.Sprintf(`"%d":{"type":"object","properties":{"a":{"$ref":"#/$defs/%d"},"b":{"$ref":"#/$defs/%d"}}}`, i, i+1, i+1)
		}) + `,"15":{"description":"` + strings.Repeat("x", 10_000) + `"}}}`
	chain := func(n int) string {
		return `{"type":"object","properties":{"a":{"$ref":"#/$defs/0"}},"$defs":{` +
			items(n, func(i int) string { return fmt.Sprintf(`"%d":{"$ref":"#/$defs/%d"}`, i, i+1) }) + fmt.Sprintf(`,"%d":{}}}`, n)
	}
	call := func(i int) string {
		return fmt.Sprintf(`{"id":"c%d","type":"function","function":{"name":"é%d","arguments":"{}"}}`, i, i)
	}
	result := func(i int) string { return fmt.Sprintf(`{"role":"tool","tool_call_id":"c%d","content":"x"}`, i) }
	named := func(n int) string {
		return `"messages":[{"role":"user","content":"Hello"},{"role":"assistant","tool_calls":[` + items(n, call) + `]},` + items(n, result) + `]`
	}
	file := func(i int) string {
		return fmt.Sprintf(`{"type":"file","file":{"filename":"%s%05d.txt","file_data":"YQ=="}}`, strings.Repeat("x", 195), i/2)
	}
	const tool, format = "tools[0].function.parameters", "response_format.json_schema.schema"
	return map[string]hostile{
		"5,200,000 slashes":          {ofTool(pointer(5_200_000), false), tool, "1024 bytes"},
		"400,000 slashes":            {ofTool(pointer(400_000), false), tool, "1024 bytes"},
		"400,000 slashes, an answer": {ofFormat(pointer(400_000)), format, "1024 bytes"},
		"500 slashes":                {ofTool(pointer(500), false), tool, "64 tokens"},
		"doubling definitions":       {ofTool(doubling, false), tool, "1048576 bytes"},
		"doubling, an answer":        {ofFormat(doubling), format, "1048576 bytes"},
		"a chain of 40,000":          {ofTool(chain(40_000), false), tool, "65536 values"},
		"a chain of 10,000":          {ofTool(chain(10_000), false), tool, "64 $refs"},
		"131,000 strict properties": {ofTool(`{"type":"object","properties":{`+items(131_000, func(i int) string { return fmt.Sprintf(`"p%d":{"type":"string"}`, i) })+`}}`, true),
			tool, "262144 values"},
		"149,000 tools": {question + `,"tools":[` + items(149_000, func(i int) string { return fmt.Sprintf(`{"type":"function","function":{"name":"f%d"}}`, i) }) + `]`,
			"tools[", "262144 values"},
		"15,000 tools": {question + `,"tools":[` + items(15_000, func(i int) string { return fmt.Sprintf(`{"type":"function","function":{"name":"f%d"}}`, i) }) + `]`,
			"tools", "10000 tools"},
		"58,000 illegal names": {named(58_000), "messages[1].tool_calls[", "262144 values"},
		"11,000 illegal names": {named(11_000), "messages[1].tool_calls", "10000 tool calls"},
		"21,000 documents":     {`"messages":[{"role":"user","content":[` + items(21_000, file) + `]}]`, "messages[0].content", "20000 content parts"},
		"7 MB of values":       {`"messages":[{"role":"user","content":"Hello"}],"stop":[` + strings.Repeat("1,", 7<<19) + `1]`, "stop[", "262144 values"},
		"25,000 messages":      {`"messages":[` + items(25_000, func(int) string { return `{"role":"user","content":"x"}` }) + `]`, "messages", "20000 messages"},
	}
}

// compressed is a body as gzip.
func compressed(t *testing.T, body string) string {
	t.Helper()
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	z.Write([]byte(body))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A caller with any key could end the process with 10 kB, or send 327 MB to Bedrock
// with 381 bytes. Each such body is a 400 that says what to change, costs a bounded
// amount of memory, and is nothing to anybody else.
func TestHostileBodies(t *testing.T) {
	t.Parallel()
	var longest atomic.Int64 // of what the upstream was sent
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		for n := longest.Load(); r.ContentLength > n && !longest.CompareAndSwap(n, r.ContentLength); n = longest.Load() {
		}
		whole(w, "Hello.")
	})
	g := start(t, options{parts: []string{stack.Valkey, stack.Admin, stack.Extproc, stack.Envoy}})
	attacker, other := g.tenant(t, u.URL, settings{}), g.tenant(t, u.URL, settings{})
	pid := g.Extproc.PID()
	request := func(more string) string { return compressed(t, `{"model":"`+attacker.alias+`",`+more+`}`) }
	ask := func(body string) answer {
		a, err := do(t.Context(), http.MethodPost, g.proxy+"/v1/chat/completions", attacker.key, body, "Content-Encoding", "gzip")
		if err != nil {
			t.Errorf("no answer: %v", err)
		}
		return a
	}
	bodies := hostileBodies()
	for name, body := range bodies {
		a := ask(request(body.more))
		a.want(t, http.StatusBadRequest, "invalid_request_error")
		if _, _, param := a.fault(); !strings.HasPrefix(param, body.param) || !strings.Contains(a.body, body.says) || len(a.body) > 2000 {
			t.Errorf("%s: %s; want a 400 for %s that says %q", name, a.body, body.param, body.says)
		}
	}
	// All at once, while another caller is served.
	var attacks sync.WaitGroup
	values, definitions := request(bodies["7 MB of values"].more), request(bodies["doubling definitions"].more)
	for range 10 {
		attacks.Go(func() { ask(values).want(t, http.StatusBadRequest, "invalid_request_error") })
		attacks.Go(func() {
			ask(definitions).want(t, http.StatusBadRequest, "invalid_request_error")
		})
	}
	other.served(t)
	attacks.Wait()
	if n := u.requests(); n != 1 {
		t.Errorf("%d requests reached the upstream, want the other caller's", n)
	}
	// What is large and honest is served, its references written out.
	text := strings.Repeat("a city of some size ", 500)
	honest := `{"type":"object","properties":{` + items(40, func(i int) string { return fmt.Sprintf(`"c%d":{"$ref":"#/$defs/City"}`, i) }) + `},"$defs":{"City":{"type":"string","description":"` + text + `"}}}`
	if a := ask(request(ofTool(honest, false))); a.status != http.StatusOK {
		t.Errorf("an honest schema: %d %s", a.status, a.body)
	}
	if n, least := longest.Load(), int64(40*len(text)); n < least || n > least+10_000 {
		t.Errorf("the upstream was sent %d bytes, want %d and a little", n, least)
	}
	other.served(t)
	if !g.Extproc.Running() || g.Extproc.PID() != pid {
		t.Error("extproc ended")
	}
	most := int64(512 << 20)
	if raceEnabled {
		most *= 4 // it takes several times as much
	}
	if peak := peakMemory(t, pid); peak > most {
		t.Errorf("extproc took %d MiB, want at most %d", peak>>20, most>>20)
	}
}

// peakMemory is the most memory that a process had, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseInt(kilobytes, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// A wildcard alias fills in what the caller names, as one segment of the path and
// never as a way out of it.
func TestWildcardCapturesNoDots(t *testing.T) {
	t.Parallel()
	paths := make(chan string, 2)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		paths <- r.URL.EscapedPath()
		whole(w, "Hello.")
	})
	c := shared(t).tenant(t, u.URL, settings{})
	alias := c.alias
	provider := c.create(t, "provider_keys", map[string]any{"display_name": alias + "-any", "api_base": u.URL,
		"secret": `{"access_key_id":"YOUR_AWS_ACCESS_KEY_ID","secret_access_key":"YOUR_AWS_SECRET_ACCESS_KEY","region":"us-west-2"}`})
	c.create(t, "models", map[string]any{"display_name": alias + "/*", "model_name": "*", "provider_key_id": provider})
	c.key, c.alias = "sk-any-"+alias, alias+"/*"
	c.create(t, "apikeys", map[string]any{"key_hash": fmt.Sprintf("%x", sum(c.key)), "allowed_models": []string{c.alias}})
	c.inForce(t)
	for _, name := range []string{".", ".."} {
		c.alias = alias + "/" + name
		a, err := c.chat(t.Context(), "Hello")
		if err != nil {
			t.Fatal(err)
		}
		a.want(t, http.StatusNotFound, "model_not_found")
	}
	c.alias = alias + "/amazon.nova-pro-v1:0"
	c.served(t)
	if got := <-paths; got != "/model/amazon.nova-pro-v1%3A0/converse" {
		t.Errorf("path %s", got)
	}
}
