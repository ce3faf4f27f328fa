package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aisix/extproc/chat"

	"github.com/google/go-cmp/cmp"
)

// fold joins the deltas of a block and keeps the last usage, so that events of a
// stream and of a whole answer compare.
func fold(events []chat.Event) []string {
	var out []string
	var kind, text string
	var usage *chat.Usage
	flush := func() {
		if kind != "" {
			out = append(out, kind+" "+text)
		}
		kind, text = "", ""
	}
	add := func(k, t string) {
		if k != kind {
			flush()
		}
		kind, text = k, text+t
	}
	for _, e := range events {
		switch e := e.(type) {
		case chat.TextDelta:
			add(fmt.Sprint("text ", e.Index), e.Text)
		case chat.ToolDelta:
			add(fmt.Sprint("input ", e.Index), strings.TrimSuffix(e.JSON, "{}")) // {} says no more than nothing
		case chat.ThinkingDelta:
			add(fmt.Sprint("thinking ", e.Index), e.Text)
			if e.Signature != "" {
				add(fmt.Sprint("signature ", e.Index), e.Signature)
			}
		case chat.UsageSnapshot:
			usage = &e.Usage
		default:
			flush()
			out = append(out, fmt.Sprintf("%T %+v", e, e))
		}
	}
	flush()
	out = slicesWithout(out, func(s string) bool { return strings.HasPrefix(s, "input ") && strings.HasSuffix(s, " ") })
	out = slicesWithout(out, func(s string) bool { return strings.HasPrefix(s, "thinking ") && strings.HasSuffix(s, " ") })
	if usage != nil {
		b, _ := json.Marshal(usage)
		out = append(out, "usage "+string(b))
	}
	return out
}

func slicesWithout(in []string, drop func(string) bool) []string {
	var out []string
	for _, s := range in {
		if !drop(s) {
			out = append(out, s)
		}
	}
	return out
}

func streamEvents(t testing.TB, lines []byte) []chat.Event {
	var d EventDecoder
	var out []chat.Event
	for line := range bytes.Lines(lines) {
		events, err := d.Decode(line)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, events...)
	}
	return out
}

// Every case is an answer in both forms; they say the same, and what they say
// stands in want.txt.
func TestAnswersGolden(t *testing.T) {
	dirs, err := filepath.Glob("testdata/answer/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no cases", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			whole, err := DecodeResponse(read(t, dir, "reply.json"))
			if err != nil {
				t.Fatal(err)
			}
			got := fold(whole)
			if d := cmp.Diff(got, fold(streamEvents(t, read(t, dir, "reply.events")))); d != "" {
				t.Errorf("stream differs (-whole +stream):\n%s", d)
			}
			text := strings.Join(got, "\n") + "\n"
			if *update {
				if err := os.WriteFile(filepath.Join(dir, "want.txt"), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(read(t, dir, "want.txt")), text); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func read(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStopWaitsForMessageStop(t *testing.T) {
	lines := bytes.Split(bytes.TrimSpace(read(t, "testdata/answer/text", "reply.events")), []byte("\n"))
	for n := range lines {
		for _, e := range streamEvents(t, bytes.Join(lines[:n], []byte("\n"))) {
			if _, ok := e.(chat.Stop); ok {
				t.Fatalf("a stream cut after %d of %d events has a stop", n, len(lines))
			}
		}
	}
}

func TestUsageAbsentIsNotZero(t *testing.T) {
	var d EventDecoder
	decode := func(s string) []chat.Event {
		events, err := d.Decode([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		return events
	}
	decode(`{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}`)
	events := decode(`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}`)
	u := events[0].(chat.UsageSnapshot).Usage
	if u.Prompt() != 9 || u.Completion() != 5 || u.CacheRead != nil {
		t.Errorf("usage = %d, %d, cache read %v; want 9, 5, nil", u.Prompt(), u.Completion(), u.CacheRead)
	}
	events = decode(`{"type":"message_delta","delta":{},"usage":{"input_tokens":11,"output_tokens":0}}`)
	if u := events[0].(chat.UsageSnapshot).Usage; u.Prompt() != 11 || u.Completion() != 0 {
		t.Errorf("usage = %d, %d; want the last snapshot, 11, 0", u.Prompt(), u.Completion())
	}
}

func TestAnswerWithoutUsageOrStopHasNoSuchEvent(t *testing.T) {
	events, err := DecodeResponse([]byte(`{"type":"message","id":"m","content":[],"stop_reason":null,"usage":{}}`))
	if err != nil || len(events) != 1 {
		t.Errorf("events = %v, %v; want Start alone", events, err)
	}
}

func TestErrors(t *testing.T) {
	const overloaded = `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`
	var d EventDecoder
	_, streamed := d.Decode([]byte(overloaded))
	_, whole := DecodeResponse([]byte(overloaded))
	for _, err := range []error{streamed, whole, DecodeError([]byte(overloaded))} {
		var e *Error
		if !errors.As(err, &e) || e.Status() != 529 || e.Message != "Overloaded" {
			t.Errorf("err = %v, want the overload", err)
		}
	}
	for _, body := range []string{"", "null", "[]", `"x"`, `{}`, `{"type":"error"}`, `{"message":"no"}`, `{"Output":{"__type":"x"}}`} {
		if _, err := DecodeResponse([]byte(body)); err == nil {
			t.Errorf("DecodeResponse(%s) took it", body)
		}
		if e := DecodeError([]byte(body)); e != nil {
			t.Errorf("DecodeError(%s) = %v", body, e)
		}
	}
	if _, err := d.Decode([]byte(`{"type":"error"}`)); err == nil {
		t.Error("an error event without an error is no error")
	}
	if s := (&Error{Type: "new_error"}).Status(); s != 500 {
		t.Errorf("unknown type has status %d", s)
	}
}

func FuzzDecodeResponse(f *testing.F) {
	dirs, _ := filepath.Glob("testdata/answer/*")
	for _, dir := range dirs {
		f.Add(read(f, dir, "reply.json"))
	}
	f.Add([]byte(`{"type":"error","error":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := DecodeResponse(body)
		if err == nil && len(events) == 0 {
			t.Error("an answer without events")
		}
	})
}

func FuzzEventDecoder(f *testing.F) {
	dirs, _ := filepath.Glob("testdata/answer/*")
	for _, dir := range dirs {
		f.Add(read(f, dir, "reply.events"))
	}
	f.Fuzz(func(t *testing.T, lines []byte) {
		var d EventDecoder
		for line := range bytes.Lines(lines) {
			if _, err := d.Decode(line); err != nil {
				return
			}
		}
	})
}
