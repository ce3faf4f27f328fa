package bedrock

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// generator makes answers of every kind of block, and writes each as the four
// operations do.
type generator struct{ *rand.Rand }

// made is an answer.
type made struct {
	blocks []madeBlock
	stop   string
	usage  [5]int // input, output, cache read, cache write, cache write for an hour
	known  [5]bool
}

type madeBlock struct {
	kind      string // text, citations, thinking, redacted, tool, server, result, novel
	text      string
	signature string
	id, name  string
	input     string // JSON as the model wrote it
}

// data is redacted reasoning as Claude writes it: a string that need not be base64.
func (b madeBlock) data() string {
	if utf8.ValidString(b.text) {
		return b.text
	}
	return base64.StdEncoding.EncodeToString([]byte(b.text))
}

func (g generator) pick(of ...string) string { return of[g.IntN(len(of))] }

// words has what text decoders get wrong.
func (g generator) words() string {
	var b strings.Builder
	for range g.IntN(6) {
		b.WriteString(g.pick("hello ", "<&>", "\"quoted\"", "\\", "\n", "\t", "é", "模型", "👩‍💻", "\u2028", "\u0000", "\ufffd", "{}", "data: [DONE]", "\u0301", " ", "%3A"))
	}
	return b.String()
}

func (g generator) input() string {
	return g.pick(`{}`, `{"a":1}`, `{"z":1.50,"a":"<&>"}`, `{"big":12345678901234567890123,"exp":1E+30,"neg":-0.0}`, `{"nested":{"b":[1,[2,{"c":null}]],"a":true}}`,
		`{"text":"\u00e9 \ud83d\ude00 é 👍 \" \\ \/ \n"}`, `{"":""}`, `{"__type":"x","message":"y"}`, `{"a":"`+strings.Repeat("x", g.IntN(3000))+`"}`, `{ "spaced" : [ 1 , 2 ] }`)
}

func (g generator) answer() made {
	var a made
	a.stop = g.pick("end_turn", "max_tokens", "stop_sequence", "model_context_window_exceeded")
	for i := range g.IntN(7) {
		b := madeBlock{kind: g.pick("text", "text", "citations", "thinking", "redacted", "tool", "tool", "server", "result", "novel"), text: g.words()}
		switch b.kind {
		case "thinking":
			b.signature = g.pick("", "c2lnbmF0dXJl", "EqQBCkgIARABGAIiQ"+strings.Repeat("A", g.IntN(500)))
		case "tool", "server":
			b.id, b.name, b.input = "tooluse_"+strconv.Itoa(i), g.pick("f", "get_weather", "a-b"), g.input()
			if b.kind == "tool" {
				a.stop = "tool_use"
			}
		case "redacted":
			b.text = g.pick("", "\x00\x01\xfe", "opaque bytes", strings.Repeat("r", 1000))
		}
		a.blocks = append(a.blocks, b)
	}
	for i := range a.usage {
		a.usage[i], a.known[i] = g.IntN(100000), i < 2 || g.IntN(2) == 0
	}
	return a
}

// quoted is s as JSON, with or without escapes for what is not ASCII.
func (g generator) quoted(s string) string {
	q := marshal(s)
	if g.IntN(2) == 0 {
		return string(q)
	}
	return strconv.QuoteToASCII("")[:1] + asciiJSON(string(q[1:len(q)-1])) + `"`
}

// asciiJSON writes what is not ASCII as \u escapes, surrogate pairs included.
func asciiJSON(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			b.WriteString(`\u` + strconv.FormatInt(int64(0xd800+r>>10), 16) + `\u` + strconv.FormatInt(int64(0xdc00+r&0x3ff), 16))
		default:
			b.WriteString(`\u` + ("0000" + strconv.FormatInt(int64(r), 16))[len(strconv.FormatInt(int64(r), 16)):])
		}
	}
	return b.String()
}

// counts are the known ones of usage under their names.
func (a made) counts(names ...string) string {
	var parts []string
	for i, name := range names {
		if name != "" && a.known[i] {
			parts = append(parts, `"`+name+`":`+strconv.Itoa(a.usage[i]))
		}
	}
	return strings.Join(parts, ",")
}

func (a made) converseUsage() string {
	return `{` + a.counts("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens") + `,"totalTokens":1,"cacheDetails":[{"ttl":"1h","inputTokens":` + strconv.Itoa(a.usage[4]) + `}],"novel":{}}`
}

func (g generator) converse(a made) []byte {
	var blocks []string
	for _, b := range a.blocks {
		var s string
		switch b.kind {
		case "text":
			s = `{"text":` + g.quoted(b.text) + `}`
		case "citations":
			half := len(b.text) / 2
			for half > 0 && !isBoundary(b.text, half) {
				half--
			}
			s = `{"citationsContent":{"content":[{"text":` + g.quoted(b.text[:half]) + `},{"text":` + g.quoted(b.text[half:]) + `}],"citations":[{"title":"t","location":{"web":{"url":"https://x.invalid"}}}]}}`
		case "thinking":
			s = `{"reasoningContent":{"reasoningText":{"text":` + g.quoted(b.text)
			if b.signature != "" {
				s += `,"signature":"` + b.signature + `"`
			}
			s += `}}}`
		case "redacted":
			s = `{"reasoningContent":{"redactedContent":"` + base64.StdEncoding.EncodeToString([]byte(b.text)) + `"}}`
		case "tool":
			s = `{"toolUse":{"toolUseId":"` + b.id + `","name":"` + b.name + `","input":` + b.input + `}}`
		case "server":
			s = `{"toolUse":{"toolUseId":"` + b.id + `","name":"` + b.name + `","type":"server_tool_use","input":` + b.input + `}}`
		case "result":
			s = `{"toolResult":{"toolUseId":"t","content":[{"text":` + g.quoted(b.text) + `}],"status":"success"}}`
		default:
			s = `{"image":{"format":"png","source":{"bytes":"iVBORw0="}}}` // shown to nobody
		}
		blocks = append(blocks, s)
	}
	return []byte(`{"metrics":{"latencyMs":12},"novel":[1],"output":{"message":{"role":"assistant","content":[` + strings.Join(blocks, ",") + `]}},"stopReason":"` + a.stop + `","usage":` + a.converseUsage() + `}`)
}

func isBoundary(s string, i int) bool { return i == len(s) || s[i]&0xc0 != 0x80 }

// split cuts s into pieces at the boundaries of characters, empty ones among
// them.
func (g generator) split(s string) []string {
	var out []string
	for s != "" {
		n := g.IntN(len(s) + 1)
		for !isBoundary(s, n) {
			n++
		}
		out = append(out, s[:n])
		s = s[n:]
	}
	return out
}

// interleave merges lists, each in its own order, from time to time one behind
// the other as the services do. Lists begin in their order.
func (g generator) interleave(lists [][]string) []string {
	var out []string
	begun := 0
	mixed := g.IntN(2) == 0
	for {
		var left []int
		for i, l := range lists[:min(begun+1, len(lists))] {
			if len(l) > 0 {
				left = append(left, i)
			}
		}
		if left == nil {
			if begun == len(lists) {
				return out
			}
			begun++ // an empty list
			continue
		}
		i := left[0]
		if mixed {
			i = left[g.IntN(len(left))]
		}
		out = append(out, lists[i][0])
		lists[i] = lists[i][1:]
		begun = max(begun, i+1)
	}
}

// pad is the padding that Bedrock adds to events.
func (g generator) pad() string { return `,"p":"` + strings.Repeat("abcdefghij", 4)[:g.IntN(40)] + `"` }

func (g generator) converseStream(t testing.TB, a made) []byte {
	var events []string
	var lists [][]string
	texts := false // one of lists is text
	for i, b := range a.blocks {
		at := `"contentBlockIndex":` + strconv.Itoa(i) + g.pad() + `}`
		var l []string
		delta := func(d string) { l = append(l, `contentBlockDelta {"delta":{`+d+`},`+at) }
		switch b.kind {
		case "text", "citations":
			for _, s := range append(g.split(b.text), "") {
				delta(`"text":` + g.quoted(s))
			}
			if b.kind == "citations" {
				delta(`"citation":{"title":"t","location":{"web":{"url":"https://x.invalid"}}}`)
			}
		case "thinking":
			for _, s := range append(g.split(b.text), "") {
				delta(`"reasoningContent":{"text":` + g.quoted(s) + `}`)
			}
			if b.signature != "" {
				delta(`"reasoningContent":{"signature":"` + b.signature + `"}`)
			}
		case "redacted":
			// Each delta is base64 of its own: to be decoded, then joined.
			for _, s := range g.split(b.text) {
				delta(`"reasoningContent":{"redactedContent":"` + base64.StdEncoding.EncodeToString([]byte(s)) + `"}`)
			}
		case "tool", "server":
			kind := ""
			if b.kind == "server" {
				kind = `,"type":"server_tool_use"`
			}
			l = append(l, `contentBlockStart {"start":{"toolUse":{"toolUseId":"`+b.id+`","name":"`+b.name+`"`+kind+`}},`+at)
			for _, s := range append(g.split(b.input), "") {
				delta(`"toolUse":{"input":` + g.quoted(s) + `}`)
			}
		case "result":
			l = append(l, `contentBlockStart {"start":{"toolResult":{"toolUseId":"t"}},`+at)
			delta(`"toolResult":[{"text":` + g.quoted(b.text) + `}]`)
		default:
			l = append(l, `contentBlockStart {"start":{"novel":{"x":["y"]}},`+at)
			delta(`"novel":{"x":["y"]}`)
		}
		if g.IntN(4) > 0 {
			l = append(l, `contentBlockStop {`+at)
		}
		// Reasoning does not overlap with anything, nor one text with another: they
		// have no order then.
		says := b.kind == "text" || b.kind == "citations"
		if says && texts || b.kind == "thinking" || b.kind == "redacted" {
			events = append(events, g.interleave(lists)...)
			lists, texts = nil, false
		}
		if b.kind == "thinking" || b.kind == "redacted" {
			events = append(events, l...)
			continue
		}
		texts = texts || says
		lists = append(lists, l)
	}
	events = append(events, g.interleave(lists)...)
	var out []byte
	out = append(out, frame(t, "event", "messageStart", `{"role":"assistant"`+g.pad()+`}`)...)
	out = append(out, frame(t, "event", "novelEvent", `{"x":{"y":[1,"z"]}}`)...)
	for _, e := range events {
		name, payload, _ := strings.Cut(e, " ")
		out = append(out, frame(t, "event", name, payload)...)
	}
	out = append(out, frame(t, "event", "messageStop", `{"stopReason":"`+a.stop+`"`+g.pad()+`}`)...)
	return append(out, frame(t, "event", "metadata", `{"usage":`+a.converseUsage()+`,"metrics":{"latencyMs":3}`+g.pad()+`}`)...)
}

func (a made) claudeUsage() string {
	return `{` + a.counts("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens") + `,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":` + strconv.Itoa(a.usage[4]) + `},"service_tier":"standard"}`
}

func (g generator) claude(a made) []byte {
	var blocks []string
	for _, b := range a.blocks {
		var s string
		switch b.kind {
		case "text":
			s = `{"type":"text","text":` + g.quoted(b.text) + `}`
		case "citations":
			s = `{"type":"text","text":` + g.quoted(b.text) + `,"citations":[{"type":"char_location","cited_text":"not the answer","document_index":0}]}`
		case "thinking":
			s = `{"type":"thinking","thinking":` + g.quoted(b.text) + `,"signature":"` + b.signature + `"}`
		case "redacted":
			s = `{"type":"redacted_thinking","data":` + g.quoted(b.data()) + `}`
		case "tool":
			s = `{"type":"tool_use","id":"` + b.id + `","name":"` + b.name + `","input":` + b.input + `,"caller":{"type":"direct"}}`
		case "server":
			s = `{"type":"server_tool_use","id":"` + b.id + `","name":"web_search","input":` + b.input + `}`
		case "result":
			s = `{"type":"web_search_tool_result","tool_use_id":"t","content":[{"type":"web_search_result","title":"not the answer","text":"nor this"}]}`
		default:
			s = `{"type":"novel","text":"not the answer","content":[{"type":"text","text":"nor this"}]}`
		}
		blocks = append(blocks, s)
	}
	return []byte(`{"id":"msg_bdrk_01","type":"message","role":"assistant","model":"claude","content":[` + strings.Join(blocks, ",") + `],"stop_reason":"` + a.stop + `","stop_sequence":null,"stop_details":null,"usage":` + a.claudeUsage() + `}`)
}

func (g generator) claudeStream(t testing.TB, a made) []byte {
	var events []string
	add := func(s string) { events = append(events, s) }
	add(`{"type":"message_start","message":{"id":"msg_bdrk_01","type":"message","role":"assistant","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}`)
	add(`{"type":"ping"}`)
	for i, b := range a.blocks {
		at := `"index":` + strconv.Itoa(i)
		start := func(s string) { add(`{"type":"content_block_start",` + at + `,"content_block":` + s + `}`) }
		delta := func(s string) { add(`{"type":"content_block_delta",` + at + `,"delta":` + s + `}`) }
		switch b.kind {
		case "text", "citations":
			start(`{"type":"text","text":""}`)
			for _, s := range append(g.split(b.text), "") {
				delta(`{"type":"text_delta","text":` + g.quoted(s) + `}`)
			}
			if b.kind == "citations" {
				delta(`{"type":"citations_delta","citation":{"type":"char_location","cited_text":"not the answer"}}`)
			}
		case "thinking":
			start(`{"type":"thinking","thinking":"","signature":""}`)
			for _, s := range append(g.split(b.text), "") {
				delta(`{"type":"thinking_delta","thinking":` + g.quoted(s) + `}`)
			}
			if b.signature != "" {
				delta(`{"type":"signature_delta","signature":"` + b.signature + `"}`)
			}
		case "redacted":
			start(`{"type":"redacted_thinking","data":` + g.quoted(b.data()) + `}`)
		case "tool", "server":
			kind := map[string]string{"tool": "tool_use", "server": "server_tool_use"}[b.kind]
			start(`{"type":"` + kind + `","id":"` + b.id + `","name":"` + b.name + `","input":{}}`)
			pieces := g.split(b.input)
			if b.input == "{}" && g.IntN(2) == 0 {
				pieces = nil // Claude sends none for an empty object
			}
			for _, s := range append(pieces, "") {
				delta(`{"type":"input_json_delta","partial_json":` + g.quoted(s) + `}`)
			}
		case "result":
			start(`{"type":"web_search_tool_result","tool_use_id":"t","content":[{"title":"not the answer"}]}`)
		default:
			start(`{"type":"novel","text":"not the answer"}`)
			delta(`{"type":"text_delta","text":"nor this"}`)
			delta(`{"type":"novel_delta","text":"nor that"}`)
		}
		add(`{"type":"content_block_stop",` + at + `}`)
	}
	add(`{"type":"novel_event","delta":{"text":"nothing"}}`)
	add(`{"type":"message_delta","delta":{"stop_reason":"` + a.stop + `","stop_sequence":null},"usage":` + a.claudeUsage() + `}`)
	add(`{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":999999,"outputTokenCount":999999,"invocationLatency":5,"firstByteLatency":2}}`)
	var out []byte
	for _, e := range events {
		if !json.Valid([]byte(e)) {
			t.Fatal("the generator wrote ", e)
		}
		out = append(out, chunk(t, e)...)
	}
	return out
}

// chunks reads b in pieces of any size.
func (g generator) chunks(b []byte) io.Reader {
	switch g.IntN(3) {
	case 0:
		return bytes.NewReader(b)
	case 1:
		return iotest.OneByteReader(bytes.NewReader(b))
	}
	return &ragged{b: b, size: 200, g: g.Rand}
}

// ragged gives b in pieces of up to size bytes.
type ragged struct {
	b    []byte
	size int
	g    *rand.Rand // nil gives pieces of size
}

func (r *ragged) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := r.size
	if r.g != nil {
		n = 1 + r.g.IntN(n)
	}
	n = copy(p[:min(len(p), n)], r.b)
	r.b = r.b[n:]
	return n, nil
}
