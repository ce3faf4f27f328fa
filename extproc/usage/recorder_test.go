package usage

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/chat"
	usagev1 "aisix/proto/aisix/v1"
)

var update = flag.Bool("update", false, "rewrite testdata")

func n(v int) *int { return &v }

var calls = map[string]*Call{
	"success": {
		RequestID: "r1", Time: time.Unix(1_760_000_000, 0), Method: "POST", Path: "/v1/chat/completions?api_key=sk-in-the-query", Operation: "converse", ClientAddress: "10.0.0.1",
		KeyID: "k1", Alias: "claude-x", ModelAlias: "claude-*", ModelID: "m1", Provider: "amazon-bedrock", ProviderKeyID: "p1", UpstreamModel: "anthropic.x", Stream: true,
		Attempts: 1, UpstreamRequestIDs: []string{"aws-1"}, Status: 200,
		Usage:   chat.Usage{Input: n(10), Output: n(5), CacheRead: n(2), CacheWrite: n(1), Reasoning: n(3)},
		Latency: 1500 * time.Millisecond, FirstByte: 200 * time.Millisecond,
	},
	"unauthorized": {RequestID: "r2", Method: "POST", Path: "/v1/chat/completions", Status: 401, ErrorType: "invalid_api_key", Latency: time.Millisecond},
	"limited": {
		RequestID: "r3", Method: "POST", Path: "/v1/chat/completions", KeyID: "k1", Alias: "claude-x", ModelAlias: "claude-*", Provider: "amazon-bedrock",
		Status: 429, ErrorType: "rate_limit_exceeded", LimitScope: "apikey", Limit: "rpm",
	},
	"unknown-model": {RequestID: "r4", Method: "POST", Path: "/v1/chat/completions", KeyID: "k1", Alias: strings.Repeat("ü", 300), Status: 404, ErrorType: "model_not_found"},
	"upstream": {
		RequestID: "r5", Method: "POST", Path: "/v1/chat/completions", KeyID: "k1", Alias: "nova", ModelAlias: "nova", Provider: "amazon-bedrock", Attempts: 1, UpstreamRequestIDs: []string{"aws-5"},
		Status: 403, ErrorType: "upstream_error", ErrorCode: "permission_denied",
		Err: errors.New("AccessDeniedException: arn:aws:iam::123456789012:user/x is not authorized\nx-amz-security-token:FwoGZXIvYXdzEJr Authorization: Bearer sk-abc, Signature=deadbeef"),
	},
	"left":     {RequestID: "r6", Method: "POST", Path: "/v1/chat/completions", KeyID: "k1", Alias: "nova", ModelAlias: "nova", Attempts: 1, Partial: true, Usage: chat.Usage{Input: n(4)}},
	"panicked": {RequestID: "r7", Method: "POST", Path: "/v1/chat/completions", Operation: "converse", KeyID: "k1", Status: 500, ErrorType: "internal_error", Err: errors.New("panic: x\ngoroutine 1"), Panicked: true},
	"noted": {
		RequestID: "r8", Method: "POST", Path: "/v1/chat/completions", Operation: "converse", KeyID: "k1", Alias: "nova", ModelAlias: "nova", Provider: "amazon-bedrock", UpstreamModel: "amazon.nova-pro-v1:0",
		Attempts: 1, UpstreamRequestIDs: []string{"aws-8"}, Status: 200, Usage: chat.Usage{Input: n(1), Output: n(1)}, Notes: []string{"unknown stop reason \"tired\""},
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
			NewRecorder(log, log, NewMetrics(), nil).Record(c)
			for line := range strings.Lines(out.String()) {
				if !json.Valid([]byte(line)) {
					t.Errorf("not JSON: %s", line)
				}
			}
			for _, secret := range []string{"sk-abc", "FwoG", "deadbeef", "sk-in-the-query"} {
				if strings.Contains(out.String(), secret) {
					t.Errorf("%s in the log", secret)
				}
			}
			golden(t, "testdata/lines/"+name+".jsonl", out.Bytes())
		})
	}
}

func TestMetrics(t *testing.T) {
	m := NewMetrics()
	quiet := slog.New(slog.DiscardHandler)
	for _, c := range calls {
		NewRecorder(quiet, quiet, m, nil).Record(c)
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

func TestOutcome(t *testing.T) {
	for _, test := range []struct {
		call Call
		want Outcome
	}{
		{Call{Status: 200}, Succeeded},
		{Call{Status: 200, Attempts: 1, ErrorType: "upstream_error"}, Failed}, // a stream that broke
		{Call{Status: 401}, Refused},
		{Call{Status: 429, Attempts: 1}, Failed},
		{Call{Status: 500}, Failed},
		{Call{}, Cancelled},
		{Call{Status: 200, Outcome: Cancelled}, Cancelled},
	} {
		if got := test.call.outcome(); got != test.want {
			t.Errorf("%+v: %v, want %v", test.call, got, test.want)
		}
		if want := "OUTCOME_" + strings.ToUpper(test.want.String()); usagev1.Outcome(test.want).String() != want {
			t.Errorf("%v is not %s in the record", test.want, want)
		}
	}
}

func TestRecordTellsAbsentFromZero(t *testing.T) {
	r := calls["unauthorized"].record()
	if r.PromptTokens != nil || r.CachedTokens != nil || r.TimeToFirstToken != nil {
		t.Errorf("%v", r)
	}
	r = calls["success"].record()
	if r.GetPromptTokens() != 13 || r.GetCompletionTokens() != 5 || r.GetCachedTokens() != 2 || r.GetModelAlias() != "claude-*" {
		t.Errorf("%v", r)
	}
}
