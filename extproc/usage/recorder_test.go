package usage

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"aisix/extproc/chat"
	usagev1 "aisix/proto/aisix/v1"
)

var update = flag.Bool("update", false, "rewrite testdata")

func n(v int) *int { return &v }

var calls = map[string]*Facts{
	"success": {
		Outcome: Succeeded, RequestID: "r1", Time: time.Unix(1_760_000_000, 0), Method: "POST", Path: "/v1/chat/completions?api_key=sk-in-the-query", Operation: "converse", ClientAddress: "10.0.0.1",
		Dialect: "openai.chat", KeyID: "k1", TeamID: "t1", UserID: "u1", Alias: "claude-x", ModelAlias: "claude-*", ModelID: "m1", Provider: "amazon-bedrock", ProviderKeyID: "p1", UpstreamModel: "anthropic.x", Stream: true,
		Tries: []Try{{ProviderKeyID: "p0"}, {ProviderKeyID: "p1", RequestID: "aws-1", Status: 200, Latency: 1100 * time.Millisecond}}, Status: 200,
		Usage:   chat.Usage{Input: n(10), Output: n(5), CacheRead: n(2), CacheWrite: n(1), Reasoning: n(3)},
		Latency: 1500 * time.Millisecond, FirstByte: time.Unix(1_760_000_000, 200_000_000),
	},
	"unauthorized": {Outcome: Refused, RequestID: "r2", Method: "POST", Path: "/v1/chat/completions", Status: 401, ErrorType: "invalid_api_key", Latency: time.Millisecond},
	"limited": {
		Outcome: Refused, RequestID: "r3", Method: "POST", Path: "/v1/chat/completions", KeyID: "k1", Alias: "claude-x", ModelAlias: "claude-*", Provider: "amazon-bedrock",
		Status: 429, ErrorType: "rate_limit_exceeded", LimitScope: "apikey", Limit: "rpm",
	},
	"unknown-model": {Outcome: Refused, RequestID: "r4", Method: "POST", Path: "/v1/chat/completions", KeyID: "k1", Alias: strings.Repeat("ü", 300), Status: 404, ErrorType: "model_not_found"},
	"upstream": {
		Outcome: Failed, RequestID: "r5", Method: "POST", Path: "/v1/chat/completions", KeyID: "k1", Alias: "nova", ModelAlias: "nova", Provider: "amazon-bedrock", Tries: []Try{{RequestID: "aws-5", Status: 403}},
		Status: 403, ErrorType: "upstream_error", ErrorCode: "permission_denied",
		Err: errors.New("AccessDeniedException: arn:aws:iam::123456789012:user/x is not authorized\nx-amz-security-token:FwoGZXIvYXdzEJr Authorization: Bearer sk-abc, Signature=deadbeef, Credential=AKIAIOSFODNN7EXAMPLE/20260102/us-east-1/bedrock/aws4_request; of ASIAQWERTYUIOPASDFGH"),
	},
	"left":     {Outcome: Cancelled, RequestID: "r6", Method: "POST", Path: "/v1/chat/completions", KeyID: "k1", Alias: "nova", ModelAlias: "nova", Tries: []Try{{}}, Partial: true, Usage: chat.Usage{Input: n(4)}},
	"panicked": {Outcome: Failed, RequestID: "r7", Method: "POST", Path: "/v1/chat/completions", Operation: "converse", KeyID: "k1", Status: 500, ErrorType: "internal_error", Err: errors.New("panic: x\ngoroutine 1"), Panicked: true},
	"noted": {
		Outcome: Succeeded, RequestID: "r8", Method: "POST", Path: "/v1/chat/completions", Operation: "converse", KeyID: "k1", Alias: "nova", ModelAlias: "nova", Provider: "amazon-bedrock", UpstreamModel: "amazon.nova-pro-v1:0",
		Tries: []Try{{RequestID: "aws-8", Status: 200}}, Status: 200, Usage: chat.Usage{Input: n(1), Output: n(1)}, Notes: []string{"unknown stop reason \"tired\""},
	},
}

func TestLines(t *testing.T) {
	for name, c := range calls {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
			NewRecorder(untimed{&out}, log, NewMetrics(), nil).Record(c)
			for line := range strings.Lines(out.String()) {
				if !json.Valid([]byte(line)) {
					t.Errorf("not JSON: %s", line)
				}
			}
			for _, secret := range []string{"sk-abc", "FwoG", "deadbeef", "AKIA", "ASIA", "sk-in-the-query"} {
				if strings.Contains(out.String(), secret) {
					t.Errorf("%s in the log", secret)
				}
			}
			golden(t, "testdata/lines/"+name+".jsonl", out.Bytes())
		})
	}
}

// untimed takes out when a line was written.
type untimed struct{ out *bytes.Buffer }

func (u untimed) Write(line []byte) (int, error) {
	_, after, _ := bytes.Cut(line, []byte(`",`))
	u.out.WriteString("{")
	u.out.Write(after)
	return len(line), nil
}

// The line of a call is what slog makes of the same attributes.
func TestAccessLine(t *testing.T) {
	now := time.Date(2026, 11, 26, 5, 0, 0, 123_456_700, time.FixedZone("", 3600))
	all := maps.Clone(calls)
	all["hostile"] = hostile()
	all["hostile"].clean() // as all that is told
	for name, c := range all {
		line := c.appendAccess(nil, now)
		var members map[string]json.RawMessage
		if err := json.Unmarshal(line, &members); err != nil {
			t.Fatalf("%s: %v in %s", name, err, line)
		}
		record, rest := slog.NewRecord(now, slog.LevelInfo, "request", 0), json.NewDecoder(bytes.NewReader(line))
		rest.UseNumber()
		for {
			token, err := rest.Token()
			if err == io.EOF {
				break
			}
			if name, ok := token.(string); ok {
				var value any
				if err := rest.Decode(&value); err != nil {
					t.Fatal(err)
				}
				if !slices.Contains([]string{slog.TimeKey, slog.LevelKey, slog.MessageKey}, name) {
					record.AddAttrs(slog.Any(name, value))
				}
			}
		}
		var want bytes.Buffer
		if err := slog.NewJSONHandler(&want, nil).Handle(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.String(), string(line)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestMetrics(t *testing.T) {
	m := NewMetrics()
	quiet := slog.New(slog.DiscardHandler)
	for _, c := range calls {
		NewRecorder(nil, quiet, m, nil).Record(c)
	}
	m.RedisFailed("limits")
	m.RedisAway(true)
	m.Config(func() (int64, time.Time) { return 7, time.Time{} })
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var ours bytes.Buffer
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "aisix_") && !strings.Contains(line, "_bucket{") {
			ours.WriteString(line)
		}
	}
	golden(t, "testdata/metrics.txt", ours.Bytes())
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(path[:strings.LastIndex(path, "/")], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Error(d)
	}
}

// An outcome is the same word in log, metrics and record.
func TestOutcome(t *testing.T) {
	for _, o := range []Outcome{Succeeded, Refused, Failed, Cancelled} {
		if got, want := usagev1.Outcome(o).String(), "OUTCOME_"+strings.ToUpper(o.String()); got != want {
			t.Errorf("%v is %s in the record, want %s", o, got, want)
		}
	}
}

func TestRecordTellsAbsentFromZero(t *testing.T) {
	r := calls["unauthorized"].record()
	if r.PromptTokens != nil || r.CachedTokens != nil || r.TimeToFirstToken != nil {
		t.Errorf("%v", r)
	}
	r = calls["success"].record()
	if r.GetPromptTokens() != 13 || r.GetCompletionTokens() != 5 || r.GetCachedTokens() != 2 || r.GetModelAlias() != "claude-*" ||
		r.GetDialect() != "openai.chat" || r.GetTeamId() != "t1" || r.GetUserId() != "u1" || r.GetTimeToFirstToken().AsDuration() != 200*time.Millisecond {
		t.Errorf("%v", r)
	}
}

// Each try stands in the record, one that got no answer too.
func TestRecordHasEachTry(t *testing.T) {
	r := calls["success"].record()
	if r.GetAttempts() != 2 || len(r.Tries) != 2 {
		t.Fatalf("%v", r)
	}
	if first := r.Tries[0]; first.ProviderKeyId != "p0" || first.UpstreamRequestId != "" || first.Status != 0 {
		t.Errorf("%v", first)
	}
	if second := r.Tries[1]; second.ProviderKeyId != "p1" || second.UpstreamRequestId != "aws-1" || second.Status != 200 || second.Latency.AsDuration() != 1100*time.Millisecond {
		t.Errorf("%v", second)
	}
}

// A record of before tries is read, and keeps what stood in it.
func TestRecordOfBefore(t *testing.T) {
	data := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "r1")
	data = protowire.AppendString(protowire.AppendTag(data, 2, protowire.BytesType), "aws-1") // upstream_request_ids
	var r usagev1.Record
	if err := proto.Unmarshal(data, &r); err != nil || r.GetRequestId() != "r1" {
		t.Fatalf("%v, %v", &r, err)
	}
	if again, err := proto.Marshal(&r); err != nil || !bytes.Equal(again, data) {
		t.Errorf("%q became %q, %v", data, again, err)
	}
}
