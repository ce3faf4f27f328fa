package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// incoming is a call at a region.
type incoming struct {
	w      http.ResponseWriter
	r      *http.Request
	at     *liar
	id     string
	stream bool
}

// deed is what can be done with a call.
type deed struct {
	class class
	of    calls // to which it can be done
	do    func(*incoming)
}

// calls are some of them.
type calls int

const (
	anything calls = iota
	wholes
	streams
	frames // streams of AWS's
)

// has reports whether a region's call is one of them.
func (c calls) has(l *liar, stream bool) bool {
	switch c {
	case wholes:
		return !stream
	case streams:
		return stream
	case frames:
		return stream && l.framed()
	}
	return true
}

// deeds are all of them.
var deeds = map[string]deed{
	"good": {serves, anything, func(c *incoming) { c.begin(c.stream); c.send(c.at.answer(c.id, c.stream)...) }},

	"throttled":       refuse(429, "ThrottlingException"),
	"throttled, 1 s":  refuse(429, "ThrottlingException", "Retry-After", "1"),
	"throttled, date": refuse(429, "ThrottlingException", "Retry-After", "Wed, 21 Oct 2037 07:28:00 GMT"),
	"quota":           {refuses, anything, func(c *incoming) { says(400, "ServiceQuotaExceededException")(c.w, c.r) }},
	"not ready":       {refuses, anything, func(c *incoming) { says(429, "ModelNotReadyException")(c.w, c.r) }},
	"timeout":         refuse(408, "ModelTimeoutException"),
	"internal":        refuse(500, "InternalServerException"),
	"unavailable":     refuse(503, "ServiceUnavailableException"),
	"gateway timeout": refuse(504, "InternalServerException"),
	"overloaded":      refuse(529, "ServiceUnavailableException"),
	"model error":     refuse(424, "ModelErrorException"),
	"bad gateway":     {refuses, anything, func(c *incoming) { c.w.WriteHeader(502); c.send([]byte("<html>")) }},
	"elsewhere": {refuses, anything, func(c *incoming) {
		c.w.Header().Set("Location", "http://127.0.0.1:1/")
		c.w.WriteHeader(307)
	}},
	"refusal stays": {refuses, anything, staying},

	"denied":   {denies, anything, func(c *incoming) { says(403, "AccessDeniedException")(c.w, c.r) }},
	"no model": {denies, anything, func(c *incoming) { says(404, "ResourceNotFoundException")(c.w, c.r) }},

	"RST":         {refuses, anything, func(c *incoming) { c.cut(true) }},
	"FIN":         {refuses, anything, func(c *incoming) { c.cut(false) }},
	"no HTTP":     {refuses, anything, func(c *incoming) { c.raw("SSH-2.0-OpenSSH_9.6\r\n") }},
	"half a head": {refuses, anything, func(c *incoming) { c.raw("HTTP/1.1 200 OK\r\nContent-Ty") }},
	"a huge head": {refuses, anything, func(c *incoming) { c.raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 200<<10) + "\r\n\r\n") }},
	"hangs":       {refuses, streams, func(c *incoming) { <-c.r.Context().Done() }},

	"a page":          {refuses, anything, func(c *incoming) { c.send([]byte("<html>welcome</html>")) }},
	"nothing":         {refuses, anything, func(c *incoming) { c.begin(c.stream) }},
	"no content":      {refuses, anything, func(c *incoming) { c.w.WriteHeader(204) }},
	"an empty object": {refuses, anything, func(c *incoming) { c.begin(false); c.send([]byte("{}")) }},
	"an error in 200": {refuses, anything, func(c *incoming) {
		c.begin(false)
		c.send([]byte(`{"Output":{"__type":"com.amazon.coral.service#InternalServerException"}}`))
	}},
	"not a stream":    {refuses, streams, func(c *incoming) { c.begin(false); c.send(c.at.answer(c.id, false)...) }},
	"head, and hangs": {refuses, streams, func(c *incoming) { c.begin(true); c.send(nil); <-c.r.Context().Done() }},
	"exception first": {refuses, frames, func(c *incoming) { c.begin(true); c.send(exception("throttlingException", `{"message":"slow down"}`)) }},
	"bad CRC first":   {refuses, frames, func(c *incoming) { c.begin(true); c.send(flipped(c.at.answer(c.id, true)[0])) }},

	"half a body":     {breaks, wholes, half},
	"head, and RST":   {breaks, streams, func(c *incoming) { c.begin(true); c.send(nil); c.cut(true) }},
	"head, and FIN":   {breaks, streams, func(c *incoming) { c.begin(true); c.send(nil); c.cut(false) }},
	"half, and RST":   {breaks, streams, func(c *incoming) { c.midway(); c.cut(true) }},
	"half, and FIN":   {breaks, streams, func(c *incoming) { c.midway(); c.cut(false) }},
	"half, and over":  {breaks, streams, func(c *incoming) { c.midway() }},
	"half, exception": {breaks, frames, func(c *incoming) { c.midway(); c.send(exception("modelStreamErrorException", `{"message":"no more"}`)) }},
	"half, bad CRC":   {breaks, frames, func(c *incoming) { c.midway(); c.send(flipped(c.at.answer(c.id, true)[0])) }},
}

// refuse is an error in the words of AWS, or of the API that is spoken.
func refuse(status int, exception string, header ...string) deed {
	return deed{refuses, anything, func(c *incoming) {
		if c.at.framed() || len(c.id)%2 == 0 {
			says(status, exception, header...)(c.w, c.r)
			return
		}
		for i := 0; i+1 < len(header); i += 2 {
			c.w.Header().Set(header[i], header[i+1])
		}
		c.begin(false)
		c.w.WriteHeader(status)
		words := `{"error":{"message":"said by a test","type":"server_error","param":null,"code":null}}`
		if c.at.api == "messages" {
			kind, ok := map[int]string{429: "rate_limit_error", 503: "overloaded_error", 529: "overloaded_error", 408: "timeout_error", 504: "timeout_error"}[status]
			if !ok {
				kind = "api_error"
			}
			words = `{"type":"error","error":{"type":"` + kind + `","message":"said by a test"}}`
		}
		c.send([]byte(words))
	}}
}

// staying refuses, and never ends what it says of it.
func staying(c *incoming) {
	c.w.Header().Set("Content-Length", "1000")
	says(429, "ThrottlingException")(c.w, c.r)
	c.w.(http.Flusher).Flush()
	<-c.r.Context().Done()
}

// half is half of a whole answer.
func half(c *incoming) {
	all := c.at.answer(c.id, false)[0]
	c.w.Header().Set("Content-Length", fmt.Sprint(len(all)))
	c.begin(false)
	c.send(all[:len(all)/2])
	c.cut(len(c.id)%2 == 0)
}

// midway begins a stream, with text in it. Where the test wants that, the caller has read some of it
// before it ends.
func (c *incoming) midway() {
	c.begin(true)
	parts := c.at.answer(c.id, true)
	c.send(parts[:len(parts)/2+1]...)
	c.at.mu.Lock()
	read := c.at.read[c.id]
	c.at.mu.Unlock()
	if read == nil {
		return
	}
	select {
	case <-read:
	case <-c.r.Context().Done():
	case <-time.After(patience):
	}
}

// flipped is a part with a bit that is another.
func flipped(part []byte) []byte {
	part = slices.Clone(part)
	part[len(part)-1] ^= 1
	return part
}

// begin says what comes.
func (c *incoming) begin(stream bool) {
	kind := "application/json"
	if stream {
		if kind = "text/event-stream"; c.at.framed() {
			kind = "application/vnd.amazon.eventstream"
		}
	}
	c.w.Header().Set("Content-Type", kind)
}

// send sends each part by itself.
func (c *incoming) send(parts ...[]byte) {
	for _, part := range parts {
		c.w.Write(part)
		c.w.(http.Flusher).Flush()
	}
}

// cut breaks the connection, by RST or by FIN; of HTTP/2, the stream.
func (c *incoming) cut(rst bool) {
	if c.at.http2 {
		panic(http.ErrAbortHandler)
	}
	nc, _, err := c.w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if rst {
		nc.(*net.TCPConn).SetLinger(0)
	}
	nc.Close()
}

// raw says a text in place of an answer; of HTTP/2 there is no such text.
func (c *incoming) raw(text string) {
	if c.at.http2 {
		panic(http.ErrAbortHandler)
	}
	if nc, _, err := c.w.(http.Hijacker).Hijack(); err == nil {
		io.WriteString(nc, text)
		nc.Close()
	}
}

// text is what the region answers to a call.
func (l *liar) text(id string) string { return l.name + " answers " + id }

// tokens are what an answer costs.
func (l *liar) tokens(id string) (in, out int) {
	var n int
	fmt.Sscanf(id, "call-%d-", &n)
	return 1000 + n, 10 + l.number
}

// answer is a good one in the region's API; of a stream part by part.
func (l *liar) answer(id string, stream bool) [][]byte {
	in, out := l.tokens(id)
	text := l.text(id)
	switch {
	case l.api == "converse" && !stream:
		return one(`{"output":{"message":{"role":"assistant","content":[{"text":%q}]}},"stopReason":"end_turn","usage":{"inputTokens":%d,"outputTokens":%d,"totalTokens":%d},"metrics":{"latencyMs":1}}`, text, in, out, in+out)
	case l.api == "converse":
		return [][]byte{
			frame("messageStart", `{"role":"assistant"}`), frame("contentBlockDelta", delta(text)), frame("contentBlockStop", `{"contentBlockIndex":0}`),
			frame("messageStop", `{"stopReason":"end_turn"}`), frame("metadata", fmt.Sprintf(`{"usage":{"inputTokens":%d,"outputTokens":%d,"totalTokens":%d},"metrics":{"latencyMs":1}}`, in, out, in+out)),
		}
	case l.api == "chat" && !stream:
		return one(`{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}`, text, in, out, in+out)
	case l.api == "chat":
		chunk := func(choices, usage string) []byte {
			return fmt.Appendf(nil, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[%s]%s}\n\n", choices, usage)
		}
		return [][]byte{
			chunk(`{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}`, ""), chunk(fmt.Sprintf(`{"index":0,"delta":{"content":%q},"finish_reason":null}`, text), ""),
			chunk(`{"index":0,"delta":{},"finish_reason":"stop"}`, ""), chunk("", fmt.Sprintf(`,"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, in, out, in+out)), []byte("data: [DONE]\n\n"),
		}
	case l.api == "responses":
		usage := fmt.Sprintf(`"usage":{"input_tokens":%d,"input_tokens_details":{"cached_tokens":0},"output_tokens":%d,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":%d}`, in, out, in+out)
		item := fmt.Sprintf(`{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":%q,"annotations":[],"logprobs":[]}]}`, text)
		response := func(status, output, usage string) string {
			return `{"id":"resp_1","object":"response","created_at":1,"status":"` + status + `","error":null,"incomplete_details":null,"model":"m","output":[` + output + `],` + usage + `}`
		}
		if !stream {
			return [][]byte{[]byte(response("completed", item, usage))}
		}
		return named(
			`{"type":"response.created","sequence_number":0,"response":`+response("in_progress", "", `"usage":null`)+`}`,
			`{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"type":"message","id":"msg_1","status":"in_progress","role":"assistant","content":[]}}`,
			`{"type":"response.content_part.added","sequence_number":2,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}}`,
			fmt.Sprintf(`{"type":"response.output_text.delta","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"delta":%q,"logprobs":[]}`, text),
			fmt.Sprintf(`{"type":"response.output_text.done","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"text":%q,"logprobs":[]}`, text),
			`{"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":`+item+`}`,
			`{"type":"response.completed","sequence_number":6,"response":`+response("completed", item, usage)+`}`,
		)
	case !stream: // invoke and messages
		return one(`{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":%q}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":%d,"output_tokens":%d}}`, text, in, out)
	}
	all := []string{
		fmt.Sprintf(`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":%d,"output_tokens":1}}}`, in),
		`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
		fmt.Sprintf(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":%q}}`, text),
		`{"type":"content_block_stop","index":0}`,
		fmt.Sprintf(`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":%d}}`, out),
		`{"type":"message_stop"}`,
	}
	if l.api == "messages" {
		return named(all...)
	}
	parts := make([][]byte, len(all))
	for i, e := range all {
		parts[i] = frame("chunk", `{"bytes":"`+base64.StdEncoding.EncodeToString([]byte(e))+`"}`)
	}
	return parts
}

func one(format string, args ...any) [][]byte { return [][]byte{fmt.Appendf(nil, format, args...)} }

// named are server-sent events that are named by their type.
func named(data ...string) [][]byte {
	all := make([][]byte, len(data))
	for i, d := range data {
		var e struct{ Type string }
		if err := json.Unmarshal([]byte(d), &e); err != nil {
			panic(err.Error() + ": " + d)
		}
		all[i] = fmt.Appendf(nil, "event: %s\ndata: %s\n\n", e.Type, d)
	}
	return all
}
