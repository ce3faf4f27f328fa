package main

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"aisix/cmd/internal/bench/load"
	"aisix/cmd/internal/bench/upstream"
)

// A mode is one way to ask, and how often.
type mode struct {
	name string    // in the table
	flag string    // in -only
	plan load.Plan // but for Warmup and Window
	kind string    // of model, "" for Claude
	door string    // path that callers ask; "" for chat completions
	body func() message
	long upstream.Settings // of streams
}

// The modes of the table.
var modes = []mode{
	{name: "JSON, 1 connection", flag: "c1", plan: load.Plan{Connections: 1}, body: conversation},
	{name: "JSON, 32 connections", flag: "c32", plan: load.Plan{Connections: 32}, body: conversation},
	{name: "JSON, 100 a second", flag: "r100", plan: load.Plan{Connections: 32, Rate: 100}, body: conversation},
	paced("16 paced streams", "paced", "", ""),
	paced("Messages (InvokeModel): 16 paced streams", "messages", kindClaude, doorMessages),
	paced("Messages (mantle): 16 paced streams", "mantle", kindMantle, doorMessages),
	paced("Responses: 16 paced streams", "responses", kindGPT, doorResponses),
	{name: "64 kB, 1 connection", flag: "64k", plan: load.Plan{Connections: 1}, body: func() message { return text(64_000) }},
	{name: "5 MB image, 1 connection", flag: "5m", plan: load.Plan{Connections: 1}, body: func() message { return image(5_000_000) }},
	{name: "Nova: JSON, 32 connections", flag: "nova", plan: load.Plan{Connections: 32}, kind: kindNova, body: conversation},
}

// paced is a mode of streams, which pass as the upstream wrote them where door is its own.
func paced(name, flag, kind, door string) mode {
	m := mode{name: name, flag: flag, kind: kind, door: door, plan: load.Plan{Connections: 16}, body: conversation}
	return m.of(60)
}

// of is m with so many deltas in each stream. Streams begin spread over the time that one takes, so
// that their deltas do not come in step.
func (m mode) of(deltas int) mode {
	m.long, m.plan.Stagger = upstream.Settings{Deltas: deltas, Interval: pace}, time.Duration(deltas)*pace
	return m
}

const (
	doorChat      = "/v1/chat/completions"
	doorMessages  = "/v1/messages"
	doorResponses = "/v1/responses"
)

// pace is between the deltas of a stream.
const pace = 10 * time.Millisecond

func (m *mode) streams() bool { return m.long.Deltas > 0 }

// message is the content of the last message of a request.
type message any

const ask = "Please summarise the incident report below for the engineer on call, keep the order of events, and name who owns each follow-up. "

// conversation is about 1 kB.
func conversation() message { return strings.Repeat(ask, 8) }

func text(size int) message { return strings.Repeat(ask, size/len(ask)+1)[:size] }

// image is one of so many bytes as base64 in a body.
func image(size int) message {
	png := make([]byte, size/4*3)
	copy(png, "\x89PNG\r\n\x1a\n")
	for i := 8; i < len(png); i++ {
		png[i] = byte(i * 7)
	}
	return []map[string]any{
		{"type": "text", "text": "What does the picture show?"},
		{"type": "image_url", "image_url": map[string]string{"url": "data:image/png;base64," + base64.StdEncoding.EncodeToString(png)}},
	}
}

// asks says how a gateway is asked and what it answers.
type asks struct {
	keys, models int // how many there are to name; 0: it knows none
	answer       func(m *mode) load.Answer
}

var (
	asksPlain = asks{answer: answerBedrock}
	asksNoop  = asks{answer: answerNoop}
)

// answerBedrock is the upstream's own.
func answerBedrock(m *mode) load.Answer {
	if m.passes() {
		return answerPassing
	}
	if m.streams() {
		return load.Answer{Holds: []byte("chunk")} // its events are in base64
	}
	return load.Answer{Holds: []byte(`"stop_reason"`), Ends: []byte("}"), Mark: []byte(upstream.Mark), Marks: 1}
}

func answerNoop(m *mode) load.Answer {
	if m.passes() {
		return answerPassing
	}
	if m.streams() {
		return load.Answer{Holds: []byte(`"choices"`), Ends: []byte("data: [DONE]\n\n")}
	}
	return load.Answer{Holds: []byte(`"choices"`), Ends: []byte("}")}
}

// answerOpenAI is this gateway's: every delta has come through, and the usage. (Its
// Marks are those of a mode.)
func answerOpenAI(m *mode) load.Answer {
	if m.door != "" {
		return answerPassing
	}
	a := load.Answer{Holds: []byte(`"completion_tokens":190`), Ends: []byte("}"), Mark: []byte(upstream.Mark), Marks: 1}
	if m.streams() {
		a.Ends, a.First = []byte("data: [DONE]\n\n"), a.Mark
	}
	return a
}

// answerPassing is the upstream's own in server-sent events.
var answerPassing = load.Answer{Holds: []byte(`"output_tokens":190`), Ends: []byte("}\n\n"), Mark: []byte(upstream.Mark), Marks: 1, First: []byte(upstream.Mark)}

// passes reports whether who asks for the mode gets what the upstream sends, whoever stands between.
func (m *mode) passes() bool { return modelAPIs[m.kind] != "" }

// target is g asked as the mode says.
func (m *mode) target(g *gateway) *load.Target {
	request := map[string]any{
		"max_tokens": 512, "temperature": 0.2,
		"messages": []map[string]any{
			{"role": "system", "content": "You are a careful assistant. Answer in plain English and keep to the facts that you were given."},
			{"role": "user", "content": "What did we decide about retries?"},
			{"role": "assistant", "content": "Two with jitter, and none after the first byte has left."},
			{"role": "user", "content": m.body()},
		},
	}
	door := cmp.Or(m.door, doorChat)
	switch door {
	case doorMessages:
		request["system"], request["messages"] = "You are a careful assistant.", []map[string]any{{"role": "user", "content": m.body()}}
	case doorResponses:
		request = map[string]any{"max_output_tokens": 512, "instructions": "You are a careful assistant.", "input": m.body()}
	}
	kind := m.kind
	if kind == "" {
		kind = kindClaude
	}
	head := map[string]any{"model": modelName(kind, 0)}
	t := &load.Target{Address: g.address, Answer: g.asks.answer(m)}
	var more string
	if m.streams() {
		head["stream"] = true
		if door == doorChat {
			head["stream_options"] = map[string]bool{"include_usage": true}
		}
		more = "x-stream: " + cmp.Or(modelAPIs[kind], "invoke") + "\r\n" // where plain Envoy, which reads no bodies, looks
		if t.Answer.Marks > 0 {
			t.Answer.Marks = m.long.Deltas
		}
	}
	// What is asked for stands first, where a no-op can see it without reading on.
	body := strings.TrimSuffix(marshal(head), "}") + "," + strings.TrimPrefix(marshal(request), "{")
	t.Request = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"+
		"Accept: application/json\r\nUser-Agent: OpenAI/Python 2.54.0\r\n%sContent-Length: %d\r\n\r\n%s", door, g.address, keyName(0), more, len(body), body)
	vary := func(name string, digits, below int) {
		if below > 1 {
			at := strings.Index(string(t.Request[:min(len(t.Request), 1000)]), name) + len(name) - digits
			t.Vary = append(t.Vary, load.Digits{At: at, Width: digits, Below: below})
		}
	}
	vary(keyName(0), keyDigits, g.asks.keys)
	if kind == kindClaude {
		vary(modelName(kind, 0), modelDigits, g.asks.models)
	}
	return t
}

// marshal is JSON of what can't fail.
func marshal(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
