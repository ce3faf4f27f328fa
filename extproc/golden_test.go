package extproc_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc"
	"aisix/extproc/egress"
	"aisix/extproc/exchange/exchangetest"
	"aisix/extproc/usage"
)

var update = flag.Bool("update", false, "rewrite the golden files of TestGolden")

// paths are where callers ask for an operation.
var paths = map[string]string{"converse": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses", "embeddings": "/v1/embeddings"}

// ends is how a stream ends that has come to its good end.
var ends = map[string]*regexp.Regexp{
	"converse":  regexp.MustCompile(`data: \[DONE\]\n\n$`),
	"responses": regexp.MustCompile(`"type": ?"response\.(completed|incomplete)".*\n\n$`),
	"messages":  regexp.MustCompile(`event: message_stop\ndata: \{"type": ?"message_stop"\}\n\n$`),
}

// TestGolden plays every case of testdata (README.md there says how one is
// written) once per chunking: what is cut how on the way changes nothing.
func TestGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*/*/caller.json")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, caller := range dirs {
		dir := filepath.Dir(caller)
		operation := filepath.Base(filepath.Dir(dir))
		t.Run(operation+"/"+filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			if *update {
				result := play(t, dir, operation, nil)
				for _, name := range outputs {
					write(t, filepath.Join(dir, name), result[name])
				}
			}
			want := map[string]string{}
			for _, name := range outputs {
				want[name] = read(t, dir, name)
			}
			random := rand.New(rand.NewPCG(1, 2))
			for _, chunking := range []struct {
				name   string
				pieces exchangetest.Pieces
			}{
				{"whole", nil},
				{"byte by byte", exchangetest.Every(1)},
				{"random", func(left int) int { return 1 + random.IntN(min(left, 400)) }},
			} {
				if diff := cmp.Diff(want, play(t, dir, operation, chunking.pieces)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", chunking.name, diff)
				}
			}
		})
	}
}

// outputs are the files that a case expects; those that do not apply are absent.
var outputs = []string{"upstream.json", "answer.json", "answer.sse", "fault.json"}

// created is the one thing in an answer that differs from run to run.
var created = regexp.MustCompile(`"created(_at)?":[0-9]+`)

// play runs one case and gives its outputs.
func play(t *testing.T, dir, operation string, pieces exchangetest.Pieces) map[string]string {
	t.Helper()
	var calls recorded
	var client *egress.Client
	door := replies(t, dir)
	if door != nil {
		client = door.client
	}
	s := extproc.New(extproc.Parts{
		Config:    extproc.Config{MaxBodyBytes: 10 << 20, Timeout: time.Minute, StreamTimeout: time.Minute},
		Egress:    client,
		Snapshots: snapshotOf(t, read(t, dir, "model.json")),
		Limiter:   noLimits{t},
		Recorder:  &calls,
		NewID:     func() string { return "00000000-0000-4000-8000-000000000000" },
	})
	answer := exchangetest.Envoy{
		Path:     paths[operation],
		Header:   http.Header{"Authorization": {"Bearer " + plaintext}, "Content-Type": {"application/json"}},
		Body:     []byte(read(t, dir, "caller.json")),
		Pieces:   pieces,
		Upstream: func(exchangetest.Forwarded) exchangetest.Reply { return reply(t, dir) },
	}.Run(t.Context(), t, s.Process)

	out := map[string]string{"upstream.json": "", "answer.json": "", "answer.sse": "", "fault.json": ""}
	if f := answer.Forwarded; f != nil {
		out["upstream.json"] = upstream(t, f)
	}
	if door != nil {
		for _, f := range door.requests() {
			out["upstream.json"] += upstream(t, f)
		}
	}
	answer.Body = created.ReplaceAll(answer.Body, []byte(`"created$1":1700000000`))
	contentType := answer.Header.Get("Content-Type")
	if answer.Header.Get("X-Aisix-Request-Id") == "" || answer.Broken || answer.Err != nil {
		t.Errorf("request id %q, broken %v, error %v", answer.Header.Get("X-Aisix-Request-Id"), answer.Broken, answer.Err)
	}
	good := false
	switch {
	case answer.Status != http.StatusOK:
		out["fault.json"] = indent(t, map[string]any{"status": answer.Status, "retry_after": answer.Header.Get("Retry-After"), "body": json.RawMessage(answer.Body)})
	case contentType == "application/json":
		out["answer.json"], good = indent(t, json.RawMessage(answer.Body)), true
	case strings.HasPrefix(contentType, "text/event-stream"):
		out["answer.sse"], good = string(answer.Body), ends[operation].Match(answer.Body)
	default:
		t.Errorf("content type %q", contentType)
	}
	if c := calls.one(t); good != (c.Outcome == usage.Succeeded) || good && !c.Usage.Known() {
		t.Errorf("recorded as %v with usage %+v", c.Outcome, c.Usage)
	}
	return out
}

// upstream is what was forwarded, without the signature: another test has that.
func upstream(t *testing.T, f *exchangetest.Forwarded) string {
	t.Helper()
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Content-Sha256", "Content-Length"} {
		if f.Header.Get(name) == "" {
			t.Errorf("forwarded without %s", name)
		}
		f.Header.Del(name)
	}
	header := map[string]string{}
	for name, values := range f.Header {
		header[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return indent(t, struct {
		Method string            `json:"method"`
		Host   string            `json:"host"`
		Path   string            `json:"path"`
		Header map[string]string `json:"header"`
		Body   json.RawMessage   `json:"body"`
	}{f.Method, f.Authority, f.Path, header, f.Body})
}

// indent is v as readable JSON; what is raw in it keeps its order.
func indent(t *testing.T, v any) string {
	t.Helper()
	var raw, out bytes.Buffer
	e := json.NewEncoder(&raw)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatalf("%v in %s", err, v)
	}
	if err := json.Indent(&out, raw.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// read is a file of a case, "" where there is none.
func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// write writes a file, or removes it where there is nothing to hold.
func write(t *testing.T, path, content string) {
	t.Helper()
	err := os.Remove(path)
	if content != "" {
		err = os.WriteFile(path, []byte(content), 0o644)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}
