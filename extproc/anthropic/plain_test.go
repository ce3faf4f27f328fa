package anthropic

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"testing"

	"aisix/extproc/plainjson"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// plainReplyOf is a whole answer read in one pass; ok is false where it is not read.
func plainReplyOf(body []byte) (r reply, ok bool) {
	p := plainjson.New(body)
	plainReply(&p, &r)
	return r, p.End()
}

// samePlain tells how many of the lines of a stream were plain, and fails where what was
// read of them is not what encoding/json reads.
func samePlain(t *testing.T, lines []byte) (plain int) {
	var one, other EventDecoder
	for line := range bytes.Lines(lines) {
		got, ok := one.plainEvent(nil, line)
		want, err := other.anyEvent(nil, line)
		if ok {
			plain++
		} else if got, _ = one.anyEvent(nil, line); err != nil {
			return plain
		}
		if err != nil {
			t.Fatalf("%s is read: %v", line, err)
		}
		if d := cmp.Diff(want, got); len(want)+len(got) > 0 && d != "" {
			t.Fatalf("%s (-want +got):\n%s", line, d)
		}
	}
	return plain
}

// The answers of the corpus are read in one pass, and say the same.
func TestPlain(t *testing.T) {
	dirs, err := filepath.Glob("testdata/answer/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no cases", err)
	}
	var plain, lines int
	for _, dir := range dirs {
		stream := read(t, dir, "reply.events")
		plain += samePlain(t, stream)
		lines += bytes.Count(stream, []byte("\n"))
		body := read(t, dir, "reply.json")
		var want reply
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatal(err)
		}
		if got, ok := plainReplyOf(body); ok {
			plain++
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", dir, d)
			}
		}
		lines++
	}
	if plain < lines*3/4 {
		t.Errorf("%d of %d events and answers are plain", plain, lines)
	}
}

// What a stream is made of costs no more than the text, and what carries it.
func TestDeltasAllocate(t *testing.T) {
	var d EventDecoder
	var total int
	for payload, most := range map[string]float64{
		`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" weather\n\"é\""}}`: 2,
		`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"so"}}`:      2,
		`{"type":"ping"}`: 0,
	} {
		b := []byte(payload)
		if n := testing.AllocsPerRun(100, func() {
			events, err := d.Decode(b)
			if total += len(events); err != nil {
				t.Error(err)
			}
		}); n > most {
			t.Errorf("%s: %.0f allocations, want %.0f", payload, n, most)
		}
	}
	if total == 0 {
		t.Error("no events")
	}
}

func FuzzPlainEvents(f *testing.F) {
	dirs, _ := filepath.Glob("testdata/answer/*")
	for _, dir := range dirs {
		f.Add(read(f, dir, "reply.events"))
	}
	f.Add([]byte(`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"\ud83d\ude00\n"},"Index":2}`))
	f.Fuzz(func(t *testing.T, lines []byte) { samePlain(t, lines) })
}

func FuzzPlainReply(f *testing.F) {
	dirs, _ := filepath.Glob("testdata/answer/*")
	for _, dir := range dirs {
		f.Add(read(f, dir, "reply.json"))
	}
	f.Add([]byte(`{"role":"","model":"","content":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := plainReplyOf(body)
		if !ok {
			return
		}
		var want reply
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("%q is read: %v", body, err)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%q (-want +got):\n%s", body, d)
		}
	})
}
