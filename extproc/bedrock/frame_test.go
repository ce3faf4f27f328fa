package bedrock

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"aisix/extproc/chat"
	"aisix/extproc/fault"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

// longStream is an answer of a few frames, for Converse and for Claude.
func longStream(t testing.TB) (converse, claude []byte) {
	for _, f := range [][2]string{
		{"messageStart", `{"role":"assistant","p":"abc"}`},
		{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"Hé"}}`},
		{"contentBlockStop", `{"contentBlockIndex":0}`},
		{"messageStop", `{"stopReason":"end_turn"}`},
		{"metadata", `{"usage":{"inputTokens":3,"outputTokens":4,"totalTokens":7}}`},
	} {
		converse = append(converse, frame(t, "event", f[0], f[1])...)
	}
	for _, e := range []string{
		`{"type":"message_start","message":{"id":"msg_1","usage":{"input_tokens":3,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hé"}}`,
		`{"type":"content_block_stop","index":0}`,
		`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}`,
		`{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":4}}`,
	} {
		claude = append(claude, chunk(t, e)...)
	}
	return converse, claude
}

// read reads all events of s and how it ended.
func read(t testing.TB, model string, r io.Reader) ([]chat.Event, error) {
	t.Helper()
	req := userSays("hi")
	req.Stream = true
	e := newCall(t, req, target(model)).reply(200, nil).Events(r)
	var out []chat.Event
	for {
		events, err := e.Next()
		if err != nil {
			if _, again := e.Next(); again != err && !(err == io.EOF && again == io.EOF) {
				t.Errorf("a second Next says %v after %v", again, err)
			}
			return out, err
		}
		out = append(out, events...)
	}
}

// A stream that is cut anywhere before its stop reason is a fault, in a frame or
// between two; with it, the end is clean at a boundary only.
func TestStreamCutAtEveryByte(t *testing.T) {
	converse, claude := longStream(t)
	for model, s := range map[string][]byte{converseModel: converse, claudeModel: claude} {
		for cut := range len(s) + 1 {
			readers := []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader}
			events, err := read(t, model, readers[cut%len(readers)](bytes.NewReader(s[:cut])))
			stopped := slices.ContainsFunc(events, func(e chat.Event) bool { _, ok := e.(chat.Stop); return ok })
			var f *fault.Error
			switch {
			case err == io.EOF:
				if !stopped || !boundary(s, cut) {
					t.Fatalf("%s cut at %d of %d ends cleanly", model, cut, len(s))
				}
			case !errors.As(err, &f) || f.Status != 502 || !errors.Is(err, io.ErrUnexpectedEOF):
				t.Fatalf("%s cut at %d: %v", model, cut, err)
			case boundary(s, cut) && stopped:
				t.Fatalf("%s, whole at %d, is a fault: %v", model, cut, err)
			}
		}
	}
}

// boundary reports whether a frame of s ends at i.
func boundary(s []byte, i int) bool {
	at := 0
	for at < i {
		at += int(binary.BigEndian.Uint32(s[at:]))
	}
	return at == i
}

// One flipped bit is found, wherever it is: nothing of the frame counts.
func TestStreamWithAFlippedBit(t *testing.T) {
	converse, claude := longStream(t)
	for model, s := range map[string][]byte{converseModel: converse, claudeModel: claude} {
		for i := range len(s) {
			bad := bytes.Clone(s)
			bad[i] ^= 1 << (i % 8)
			if _, err := read(t, model, bytes.NewReader(bad)); err == io.EOF {
				t.Fatalf("%s with a flipped bit in byte %d of %d ends cleanly", model, i, len(s))
			}
		}
	}
}

// prelude is a frame's head with right checksum.
func prelude(total, headers uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, total)
	b = binary.BigEndian.AppendUint32(b, headers)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func TestFramesThatCannotBe(t *testing.T) {
	for name, b := range map[string][]byte{
		"shorter than a frame":             prelude(15, 0),
		"longer than any frame":            prelude(maxFrame+1, 0),
		"the longest number":               prelude(0xffffffff, 0),
		"headers longer than the frame":    prelude(100, 85),
		"headers longer than any":          prelude(maxFrame, maxHeaders+1),
		"headers of the longest number":    prelude(100, 0xffffffff),
		"HTML in place of a stream":        []byte("<html><body>Service Unavailable</body></html>"),
		"JSON in place of a stream":        []byte(`{"message":"Too many requests"}`),
		"a prelude with the wrong sum":     append(prelude(100, 0)[:8], 0, 0, 0, 0),
		"a frame behind one that is wrong": append(prelude(15, 0), frame(t, "event", "messageStart", `{"role":"assistant"}`)...),
	} {
		for _, r := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b))} {
			events, err := read(t, converseModel, r)
			var f *fault.Error
			if !errors.As(err, &f) || f.Status != 502 || len(events) > 0 {
				t.Errorf("%s: %v, %v", name, events, err)
			}
		}
	}
}

// A length is only a promise: memory grows with what has come.
func TestAHugeLengthCostsNothing(t *testing.T) {
	f := frameReader{body: piecesOf(io.MultiReader(bytes.NewReader(prelude(maxFrame, 0)), bytes.NewReader(make([]byte, 1000))))}
	if _, err := f.next(); err != io.ErrUnexpectedEOF {
		t.Errorf("got %v", err)
	}
	if cap(f.rest) > 64<<10 {
		t.Errorf("%d bytes set aside for %d that came", cap(f.rest), len(f.rest))
	}
}

func TestALongFrame(t *testing.T) {
	long := bytes.Repeat([]byte("x"), 1<<20)
	s := append(frame(t, "event", "contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"`+string(long)+`"}}`), frame(t, "event", "messageStop", `{"stopReason":"end_turn"}`)...)
	events, err := read(t, converseModel, iotest.HalfReader(bytes.NewReader(s)))
	if err != io.EOF || len(events) != 2 || len(events[0].(chat.TextDelta).Text) != len(long) {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// deadlines gives s a few bytes at a time, and a deadline between them.
type deadlines struct {
	s    []byte
	wait bool
}

func (d *deadlines) Read(p []byte) (int, error) {
	if d.wait = !d.wait; d.wait {
		return 0, os.ErrDeadlineExceeded
	}
	if len(d.s) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(3, len(p))], d.s)
	d.s = d.s[n:]
	return n, nil
}

func TestADeadlineLosesNothing(t *testing.T) {
	s, _ := longStream(t)
	req := userSays("hi")
	req.Stream = true
	e := newCall(t, req, target(converseModel)).reply(200, nil).Events(&deadlines{s: s})
	var got []chat.Event
	for {
		events, err := e.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, events...)
	}
	if len(got) != 5 {
		t.Errorf("events %v", got)
	}
}

func TestABrokenConnection(t *testing.T) {
	s, _ := longStream(t)
	reset := errors.New("reset")
	_, err := read(t, converseModel, io.MultiReader(bytes.NewReader(s[:200]), iotest.ErrReader(reset)))
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Transport || !errors.Is(err, reset) {
		t.Errorf("got %v", err)
	}
}

func TestBufferedTellsWhetherNextWillRead(t *testing.T) {
	s, _ := longStream(t)
	req := userSays("hi")
	req.Stream = true
	e := newCall(t, req, target(converseModel)).reply(200, nil).Events(bytes.NewReader(s))
	if e.Buffered() {
		t.Error("buffered before the first read")
	}
	for range 4 {
		if _, err := e.Next(); err != nil {
			t.Fatal(err)
		}
		if !e.Buffered() {
			t.Error("not buffered with a whole frame at hand")
		}
	}
	if _, err := e.Next(); err != nil || e.Buffered() {
		t.Errorf("buffered at the end: %v", err)
	}
}

// Events that nobody here knows, and known ones with parts that nobody knows.
func TestWhatIsNewIsIgnored(t *testing.T) {
	for _, f := range [][2]string{
		{"novelEvent", `{"x":{"y":["z",1,null]}}`},
		{"messageStart", `{"role":"assistant","novel":{"a":[{}]},"p":"abcdefghij"}`},
		{"contentBlockStart", `{"contentBlockIndex":0,"start":{"novel":{"a":"b"}}}`},
		{"contentBlockStart", `{"contentBlockIndex":0,"start":{}}`},
		{"contentBlockStart", `{"contentBlockIndex":0}`},
		{"contentBlockStart", `{"contentBlockIndex":0,"start":{"image":{"format":"png"}}}`},
		{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"novel":"x"}}`},
		{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"novel":{"a":["b"]}},"p":"abc"}`},
		{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"novel":"x"}}}`},
		{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"citation":{"novel":{"a":1}}}}`},
		{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"toolResult":[{"novel":"x"}]}}`},
		{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{}}`},
		{"contentBlockDelta", `{"contentBlockIndex":0}`},
		{"contentBlockDelta", `{}`},
		{"metadata", `{"metrics":{"latencyMs":1},"trace":{"guardrail":{"novel":1}}}`},
		{"metadata", `{}`},
	} {
		s, _ := longStream(t)
		events, err := read(t, converseModel, bytes.NewReader(append(frame(t, "event", f[0], f[1]), s...)))
		if err != io.EOF {
			t.Errorf("%s: %v", f, err)
			continue
		}
		answer, err := chat.Collect(events)
		if err != nil || len(answer.Blocks) != 1 || answer.Blocks[0] != (chat.Text{Text: "Hé"}) || answer.Usage.Prompt() != 3 {
			t.Errorf("%s: %v, %v", f, answer, err)
		}
	}
}

// Frames that are not events: other message types, and headers that lack.
func TestFramesOfOddKinds(t *testing.T) {
	encode := func(headers map[string]string, payload string) []byte {
		m := eventstream.Message{Payload: []byte(payload)}
		for name, value := range headers {
			m.Headers.Set(name, eventstream.StringValue(value))
		}
		var b bytes.Buffer
		if err := eventstream.NewEncoder().Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, tt := range map[string]struct {
		frame  []byte
		status int
	}{
		"an error frame without a message": {encode(map[string]string{":message-type": "error", ":error-code": "InternalFailure"}, ""), 502},
		"an error frame of throttling":     {encode(map[string]string{":message-type": "error", ":error-code": "ThrottlingException", ":error-message": "slow"}, ""), 429},
		"an error frame without a code":    {encode(map[string]string{":message-type": "error"}, ""), 502},
		"an exception without a type":      {encode(map[string]string{":message-type": "exception"}, `{"message":"x"}`), 502},
		"an exception that nobody knows":   {encode(map[string]string{":message-type": "exception", ":exception-type": "novelException"}, `{"message":"x"}`), 502},
		"an exception that is not JSON":    {encode(map[string]string{":message-type": "exception", ":exception-type": "throttlingException"}, `slow down`), 429},
		"no headers at all":                {encode(nil, `{}`), 502},
		"a type that nobody knows":         {encode(map[string]string{":message-type": "novel"}, `{}`), 502},
		"an event that is not JSON":        {encode(map[string]string{":message-type": "event", ":event-type": "messageStop"}, `{"stopReason":`), 502},
		"an event without a stop reason":   {encode(map[string]string{":message-type": "event", ":event-type": "messageStop"}, `{}`), 502},
	} {
		_, err := read(t, converseModel, bytes.NewReader(tt.frame))
		var f *fault.Error
		if !errors.As(err, &f) || f.Status != tt.status {
			t.Errorf("%s: %v, want %d", name, err, tt.status)
		}
	}
}

// Usage of a stream comes behind its stop reason; absent is not zero.
func TestUsageOfStreams(t *testing.T) {
	usage := func(model string, frames ...[]byte) chat.Usage {
		t.Helper()
		events, err := read(t, model, bytes.NewReader(bytes.Join(frames, nil)))
		if err != io.EOF {
			t.Fatal(err)
		}
		answer, err := chat.Collect(events)
		if err != nil && !errors.Is(err, chat.ErrNoUsage) {
			t.Fatal(err)
		}
		return answer.Usage
	}
	stop := frame(t, "event", "messageStop", `{"stopReason":"end_turn"}`)
	u := usage(converseModel, stop, frame(t, "event", "metadata", `{"usage":{"inputTokens":3,"outputTokens":0,"totalTokens":3}}`))
	if u.Prompt() != 3 || u.Output == nil || *u.Output != 0 || u.CacheRead != nil || u.CacheWrite != nil {
		t.Errorf("usage %+v", u)
	}
	u = usage(converseModel, stop, frame(t, "event", "metadata", `{"usage":{"inputTokens":3,"outputTokens":4,"totalTokens":7,"cacheReadInputTokens":10,"cacheWriteInputTokens":20,"cacheDetails":[{"ttl":"5m","inputTokens":5},{"ttl":"1h","inputTokens":15}]}}`))
	if u.Prompt() != 33 || *u.CacheRead != 10 || *u.CacheWrite != 20 || *u.CacheWrite1h != 15 {
		t.Errorf("usage %+v", u)
	}
	if u = usage(converseModel, stop); u.Known() {
		t.Errorf("usage %+v out of nothing", u)
	}
	// Claude's snapshots: later ones win, one that lacks a count leaves it.
	u = usage(claudeModel,
		chunk(t, `{"type":"message_start","message":{"id":"m","usage":{"input_tokens":3,"output_tokens":1,"cache_read_input_tokens":7,"cache_creation_input_tokens":9,"cache_creation":{"ephemeral_5m_input_tokens":4,"ephemeral_1h_input_tokens":5}}}}`),
		chunk(t, `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":40,"output_tokens_details":{"thinking_tokens":11}}}`),
		chunk(t, `{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":1000,"outputTokenCount":2000}}`))
	if u.Prompt() != 19 || u.Completion() != 40 || *u.CacheWrite1h != 5 || u.Reasoning == nil || *u.Reasoning != 11 {
		t.Errorf("usage %+v", u)
	}
	// Where Claude tells nothing, Bedrock's own count does.
	u = usage(claudeModel, chunk(t, `{"type":"message_delta","delta":{"stop_reason":"end_turn"}}`), chunk(t, `{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":10,"outputTokenCount":20,"cacheReadInputTokenCount":0}}`))
	if u.Prompt() != 10 || u.Completion() != 20 || u.CacheRead == nil || u.CacheWrite != nil {
		t.Errorf("usage %+v", u)
	}
}

// What an upstream says after the stop reason is no part of the answer.
func TestNothingFollowsTheStopReason(t *testing.T) {
	converse, claude := longStream(t)
	late := frame(t, "event", "contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"and more"}}`)
	call := frame(t, "event", "contentBlockStart", `{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"t","name":"f"}}}`)
	for model, s := range map[string][]byte{
		converseModel: slices.Concat(converse, late, call),
		claudeModel: slices.Concat(claude, chunk(t, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"and more"}}`),
			chunk(t, `{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f"}}`)),
	} {
		events, err := read(t, model, bytes.NewReader(s))
		if err != io.EOF {
			t.Fatalf("%s: %v", model, err)
		}
		answer, err := chat.Collect(events)
		if err != nil || len(answer.Blocks) != 1 || strings.Contains(fmt.Sprint(answer.Blocks), "more") || answer.Stop != chat.EndTurn {
			t.Errorf("%s: %+v, %v", model, answer, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	converse, claude := longStream(f)
	f.Add(converse, uint8(0))
	f.Add(claude, uint8(3))
	f.Add(prelude(maxFrame, 0), uint8(1))
	f.Add(prelude(16, 0), uint8(200))
	f.Fuzz(func(t *testing.T, s []byte, size uint8) {
		whole := frameReader{body: piecesOf(bytes.NewReader(s))}
		cut := frameReader{body: piecesOf(iotest.OneByteReader(bytes.NewReader(s)))}
		if size > 0 {
			cut.body = piecesOf(&ragged{b: s, size: int(size)})
		}
		for {
			a, errA := whole.next()
			b, errB := cut.next()
			if !bytes.Equal(a, b) || (errA == nil) != (errB == nil) || errA == io.EOF != (errB == io.EOF) {
				t.Fatalf("%q, %v; in pieces %q, %v", a, errA, b, errB)
			}
			if errA != nil {
				return
			}
		}
	})
}

// FuzzEvents reframes payloads, so that what is behind the checksums is reached,
// and reads them as both kinds of stream.
func FuzzEvents(f *testing.F) {
	f.Add("event", "contentBlockDelta", `{"contentBlockIndex":0,"delta":{"text":"a"}}`, "messageStop", `{"stopReason":"end_turn"}`)
	f.Add("event", "contentBlockStart", `{"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"t","name":"f"}}}`, "contentBlockDelta", `{"contentBlockIndex":1,"delta":{"toolUse":{"input":"{"}}}`)
	f.Add("event", "contentBlockDelta", `{"delta":{"reasoningContent":{"redactedContent":"AAE="}}}`, "metadata", `{"usage":{"inputTokens":1}}`)
	f.Add("exception", "throttlingException", `{"message":"m"}`, "x", ``)
	f.Add("error", "InternalFailure", `m`, "x", ``)
	f.Add("event", "chunk", `{"bytes":"eyJ0eXBlIjoicGluZyJ9","p":"a"}`, "chunk", `{"bytes":"e30="}`)
	f.Fuzz(func(t *testing.T, kind, name, payload, name2, payload2 string) {
		var s []byte
		for _, x := range [][3]string{{kind, name, payload}, {"event", name2, payload2}} {
			if len(x[1]) > 100 || len(x[2]) > 10000 {
				return
			}
			s = append(s, frame(t, x[0], x[1], x[2])...)
		}
		for _, model := range []string{converseModel, claudeModel} {
			events, err := read(t, model, bytes.NewReader(s))
			var fe *fault.Error
			if err != io.EOF && !errors.As(err, &fe) {
				t.Errorf("an end that is no fault: %v", err)
			}
			_, _ = chat.Collect(events)
		}
	})
}

// FuzzWhole decodes any body as both kinds of reply.
func FuzzWhole(f *testing.F) {
	f.Add([]byte(`{"output":{"message":{"role":"assistant","content":[{"text":"a"},{"toolUse":{"toolUseId":"t","name":"f","input":{"a":1}}}]}},"stopReason":"tool_use","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`))
	f.Add([]byte(`{"type":"message","id":"m","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`))
	f.Add([]byte(`{"__type":"ThrottlingException","message":"m"}`))
	f.Add([]byte(`{"output":{"message":{"content":[{"novel":"x"},{"text":null},{}]}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, model := range []string{converseModel, claudeModel} {
			c := newCall(t, userSays("hi"), target(model))
			events, err := c.reply(200, map[string][]string{"Content-Type": {"application/json"}}).Whole(body)
			if err != nil {
				var fe *fault.Error
				if !errors.As(err, &fe) {
					t.Errorf("an error that is no fault: %v", err)
				}
				continue
			}
			if _, err := chat.Collect(events); err != nil {
				t.Errorf("an answer that does not fold: %v", err)
			}
		}
	})
}
