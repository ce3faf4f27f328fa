package openai

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"aisix/extproc/chat"
)

func count(n int) *int { return &n }

func TestStream(t *testing.T) {
	s := (&asked{model: "m", usage: true}).Stream(chat.Heading{ID: "1", Created: time.Unix(7, 0)})
	var out []byte
	for _, e := range []chat.Event{
		chat.Start{}, chat.TextDelta{Text: "a\"b"}, chat.BlockStop{},
		chat.ToolStart{Index: 1, ID: "c1", Name: "f"}, chat.ToolDelta{Index: 1, JSON: `{"a":`}, chat.ToolDelta{Index: 1, JSON: `1}`}, chat.BlockStop{Index: 1},
		chat.ToolStart{Index: 2, ID: "c2", Name: "g"}, chat.BlockStop{Index: 2},
		chat.Stop{Reason: chat.ToolUseStop}, chat.UsageSnapshot{Usage: chat.Usage{Input: count(3), Output: count(4)}},
	} {
		var err error
		if out, err = s.Append(out, e); err != nil {
			t.Fatal(err)
		}
	}
	out, err := s.Finish(out)
	if err != nil {
		t.Fatal(err)
	}
	head := `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m","choices":[`
	delta := func(d string) string {
		return head + `{"index":0,"delta":{` + d + `},"finish_reason":null}],"usage":null}`
	}
	want := strings.Join([]string{
		delta(`"role":"assistant","content":""`),
		delta(`"content":"a\"b"`),
		delta(`"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":""}}]`),
		delta(`"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]`),
		delta(`"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]`),
		delta(`"tool_calls":[{"index":1,"id":"c2","type":"function","function":{"name":"g","arguments":""}}]`),
		delta(`"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]`),
		head + `{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":null}`,
		head + `],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}`,
		"data: [DONE]", "",
	}, "\n\n")
	if string(out) != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

// Calls whose blocks never stopped end in their own order.
func TestUnstoppedCallsEndInOrder(t *testing.T) {
	out := unstopped(t, 50)
	at := 0
	for i := range 50 {
		next := strings.Index(out[at:], fmt.Sprintf(`"tool_calls":[{"index":%d,"function":{"arguments":"{}"}}]`, i))
		if next < 0 {
			t.Fatalf("call %d does not end after call %d", i, i-1)
		}
		at += next
	}
}

// Ten times as many cost ten times as much.
func BenchmarkUnstoppedCalls(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				unstopped(b, n)
			}
		})
	}
}

// unstopped is a stream of n calls whose blocks, of falling indexes, never stop.
func unstopped(t testing.TB, n int) string {
	t.Helper()
	s := (&asked{model: "m"}).Stream(chat.Heading{ID: "1", Created: time.Unix(7, 0)})
	var out []byte
	var err error
	var events []chat.Event
	for i := range n {
		events = append(events, chat.ToolStart{Index: n - i, ID: "c", Name: "f"})
	}
	events = append(events, chat.Stop{Reason: chat.ToolUseStop}, chat.UsageSnapshot{Usage: chat.Usage{Input: count(3), Output: count(4)}})
	for _, e := range ordered(events) {
		if out, err = s.Append(out, e); err != nil {
			t.Fatal(err)
		}
	}
	if out, err = s.Finish(out); err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// The tier that served is in every chunk from where it is told on, and in a whole
// answer; nobody makes one up.
func TestServedTier(t *testing.T) {
	const member = `"model":"m","service_tier":"flex",`
	start, text, stop := chat.Start{ID: "u"}, chat.TextDelta{Text: "a"}, chat.Stop{Reason: chat.EndTurn}
	tier, counts := chat.ServedTier{Name: "flex"}, chat.UsageSnapshot{Usage: chat.Usage{Input: count(1), Output: count(1)}}
	for _, test := range []struct {
		name         string
		events       []chat.Event
		chunks, have int
	}{
		{"ahead of the answer", []chat.Event{tier, start, text, stop, counts}, 4, 4},
		{"behind it", []chat.Event{start, text, stop, tier, counts}, 4, 2},
		{"twice", []chat.Event{tier, start, text, stop, tier, counts}, 4, 4},
		{"never", []chat.Event{start, text, stop, counts}, 4, 0},
	} {
		a := &asked{model: "m", usage: true}
		s := a.Stream(chat.Heading{ID: "1"})
		var out []byte
		for _, e := range test.events {
			var err error
			if out, err = s.Append(out, e); err != nil {
				t.Fatal(err)
			}
		}
		out, err := s.Finish(out)
		if err != nil {
			t.Fatal(err)
		}
		if chunks, have := strings.Count(string(out), `"id":"u"`), strings.Count(string(out), member); chunks != test.chunks || have != test.have {
			t.Errorf("%s: %d of %d chunks have it, want %d of %d:\n%s", test.name, have, chunks, test.have, test.chunks, out)
		}
		answer, err := chat.Collect(test.events)
		if err != nil {
			t.Fatal(err)
		}
		body, err := a.Whole(chat.Heading{ID: "1"}, answer)
		if err != nil || strings.Contains(string(body), `"service_tier":"flex"`) != (test.have > 0) || strings.Contains(string(body), "service_tier") != (test.have > 0) {
			t.Errorf("%s: %s, %v", test.name, body, err)
		}
	}
}
