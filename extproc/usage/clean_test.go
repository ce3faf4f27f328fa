package usage

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"aisix/admin/ledger"
	"aisix/extproc/chat"
	usagev1 "aisix/proto/aisix/v1"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"plain":                     "plain",
		"Grüße 👩‍💻":                 "Grüße 👩‍💻",
		"a\xffb":                    "a\uFFFDb",
		"a\x00\x1b[31m\u0085b":      "a\uFFFD[31m\uFFFDb",
		"a\r\nb":                    "a\uFFFDb",
		"a\u202Eb\u2028c":           "a\uFFFDb\uFFFDc",
		"\xed\xa0\x80":              "\uFFFD", // half of a surrogate pair
		strings.Repeat("x", 20):     strings.Repeat("x", 16) + "…",
		strings.Repeat("ü", 20):     strings.Repeat("ü", 8) + "…",
		strings.Repeat("\x80", 100): "\uFFFD…",
	} {
		if got := clean(in, 16); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// hostile has a byte that is not UTF-8, a line break and no end in all that comes
// from outside.
func hostile() *Facts {
	text := "\xff\r\n{\"x\":\"" + strings.Repeat("y", 10_000)
	many := strings.Split(strings.Repeat(text+"\x00", 100), "\x00")
	return &Facts{
		RequestID: text, Time: time.Unix(1, 0), Method: text, Path: text, Operation: text, ClientAddress: text,
		KeyID: text, TeamID: text, UserID: text, Alias: text, ModelAlias: "*" + text, ModelID: text, Provider: text, ProviderKeyID: text, UpstreamModel: text, LimitScope: text, Limit: text,
		Tries: []Try{{RequestID: text}, {RequestID: text}}, Status: 200, ErrorType: text, ErrorCode: text, Err: errors.New(text), Notes: many,
		Usage: chat.Usage{Input: n(-5), Output: n(1 << 62), CacheRead: n(1 << 62), CacheWrite: n(-1), Reasoning: n(1 << 62)},
	}
}

// Whatever callers and upstreams say, a call becomes lines of JSON, labels, and a
// record that can be stored, none of them long.
func TestHostileCall(t *testing.T) {
	checkHostile(t, hostile())
	free := hostile()
	free.Tries, free.Err = nil, nil
	checkHostile(t, free)
}

func checkHostile(t *testing.T, c *Facts) {
	t.Helper()
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	m := NewMetrics()
	NewRecorder(&out, log, m, nil).Record(c)
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) || len(line) > 64<<10 {
			t.Errorf("a line of %d bytes: %.300s", len(line), line)
		}
	}
	if _, err := m.registry.Gather(); err != nil {
		t.Error(err)
	}
	e, err := ledger.NewEntry(c.record())
	if err != nil || len(e.Bytes) > 16<<10 {
		t.Errorf("a record of %d bytes, %v", len(e.Bytes), err)
	}
	var back usagev1.Record
	if err := proto.Unmarshal(e.Bytes, &back); err != nil {
		t.Fatal(err)
	}
	texts := []string{back.RequestId, back.KeyId, back.TeamId, back.UserId, back.Alias, back.ModelAlias, back.ModelId, back.UpstreamModel, back.ProviderKeyId, back.ErrorType,
		back.ClientAddress, back.Operation}
	for _, try := range back.Tries {
		texts = append(texts, try.UpstreamRequestId)
	}
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.ContainsFunc(text, control) {
			t.Errorf("stored: %q", text)
		}
	}
	for _, count := range []int64{back.GetPromptTokens(), back.GetCompletionTokens(), back.GetCachedTokens(), back.GetCacheWriteTokens(), back.GetReasoningTokens()} {
		if count < 0 || count > 3*mostTokens {
			t.Errorf("stored: %d tokens", count)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("id", "model", "/v1/models/x", "aws\xff", "type", "note\n", "10.0.0.1", 1, 200, 5)
	f.Add("", "sk-1", "/%ff/../\x00?sk-2", "", "\u2028", "", "::1", 0, 404, -1)
	f.Fuzz(func(t *testing.T, id, alias, path, aws, kind, note, address string, attempts, status, tokens int) {
		var tries []Try
		if attempts > 0 {
			tries = []Try{{RequestID: aws, Status: attempts, Latency: time.Duration(tokens)}, {RequestID: id}}
		}
		checkHostile(t, &Facts{RequestID: id, Method: kind, Path: path, Operation: kind, ClientAddress: address, KeyID: id, Alias: alias, ModelAlias: "a*" + kind, UpstreamModel: alias,
			Tries: tries, Status: status, ErrorType: kind, ErrorCode: aws, Err: errors.New(note), Notes: []string{note},
			Usage: chat.Usage{Input: &tokens, CacheRead: &tokens}, IsKey: func(s string) bool { return len(s) == 3 }})
	})
}

// What was typed into the wrong place is told nobody.
func TestSecretsAreHidden(t *testing.T) {
	const (
		ours   = "blue-house-7" // an API key that looks like none
		aws    = "wJalrXUtnFEMIzK7MDENGzbPxRfiCYEXAMPLEKEY"
		openAI = "sk-proj-abcdef"
	)
	isKey := func(s string) bool { return s == ours }
	for _, test := range []struct {
		name           string
		call           Facts
		alias          string // as told
		upstream, path string
		secret         string
	}{
		{"a model", Facts{Alias: "claude", ModelAlias: "claude", UpstreamModel: "anthropic.x"}, "claude", "anthropic.x", "", ""},
		{"a model that is called like a key", Facts{Alias: "sk-model", ModelAlias: "sk-model", UpstreamModel: "x"}, "sk-model", "x", "", ""},
		{"of a wildcard", Facts{Alias: "us.anthropic.claude-3-5-sonnet-20241022-v2:0", ModelAlias: "*", UpstreamModel: "us.anthropic.claude-3-5-sonnet-20241022-v2:0"},
			"us.anthropic.claude-3-5-sonnet-20241022-v2:0", "us.anthropic.claude-3-5-sonnet-20241022-v2:0", "", ""},
		{"no model", Facts{Alias: "gpt-4o"}, "unknown:sha256:a2a69af70d1b", "", "", "gpt-4o"},
		{"our key", Facts{Alias: ours}, redacted, "", "", ours},
		{"our key, by a wildcard", Facts{Alias: ours, ModelAlias: "*", UpstreamModel: ours, Tries: []Try{{}}, Err: errors.New("no model " + ours), Notes: []string{"what is " + ours}}, redacted, redacted, "", ours},
		{"our key, captured", Facts{Alias: "x/" + ours + "/y", ModelAlias: "x/*/y", UpstreamModel: "a." + ours, Tries: []Try{{}}, Err: errors.New("a." + ours)}, redacted, redacted, "", ours},
		{"somebody's key", Facts{Alias: openAI, ModelAlias: "*", UpstreamModel: openAI}, redacted, redacted, "", openAI},
		{"somebody's key, captured", Facts{Alias: "x" + openAI, ModelAlias: "x*", UpstreamModel: openAI, Tries: []Try{{}}, Err: errors.New("unknown " + openAI)}, redacted, redacted, "", openAI},
		{"an AWS secret", Facts{Alias: aws, ModelAlias: "*", UpstreamModel: aws}, redacted, redacted, "", aws},
		{"a key in the path", Facts{Path: "/v1/models/" + openAI + "?key=" + ours}, "", "", "/v1/models/[redacted]", openAI},
		{"our key in the path", Facts{Path: "/" + ours + "/x"}, "", "", "/[redacted]/x", ours},
		{"encoded", Facts{Path: "/v1/models/sk%2Dproj-abcdef"}, "", "", "/v1/models/[redacted]", "proj-abcdef"},
		{"words in the path", Facts{Path: "/v1/chat/completions/Where%20is%20it/?now"}, "", "", "/v1/chat/completions/[redacted]/", "Where"},
		{"words in the path, cut in an escape", Facts{Path: "/" + strings.Repeat("x%20", 200)}, "", "", "/[redacted]", "x%20"},
		{"a path", Facts{Path: "/v1/models/us.amazon.nova-pro-v1%3A0"}, "", "", "/v1/models/us.amazon.nova-pro-v1%3A0", ""},
		{"a key as request id", Facts{RequestID: ours}, "", "", "", ours},
		{"a long alias", Facts{Alias: strings.Repeat("z", 10<<20)}, "unknown:sha256:1a165b0441c1", "", "", "zzz"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			log := slog.New(slog.NewJSONHandler(&out, nil))
			c := test.call
			c.KeyID, c.IsKey = "k", isKey
			NewRecorder(&out, log, NewMetrics(), nil).Record(&c)
			r := c.record()
			if r.Alias != test.alias || r.UpstreamModel != test.upstream || c.Path != test.path {
				t.Errorf("alias %q, upstream model %q, path %q", r.Alias, r.UpstreamModel, c.Path)
			}
			if told := out.String() + r.String(); test.secret != "" && strings.Contains(told, test.secret) {
				t.Errorf("told: %s", told)
			}
		})
	}
}

func TestLooksLikeKey(t *testing.T) {
	for s, want := range map[string]bool{
		"sk-a": true, "x sk-a": true, "Bearer x": true, "AKIAIOSFODNN7EXAMPLE": true, "eyJhbGciOiJIUzI1NiJ9.x": true, "org/ghp_0123456789": true,
		"": false, "sk-": false, "task-a": false, "ASIA-pacific-claude": false, "risk-ask-model": false, "us.meta.llama3-3-70b-instruct-v1:0": false, "4bf92f3577b34da6a3ce929d0e0e4736": false,
	} {
		if got := looksLikeKey(s) || opaque(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}
