package usage

import (
	"io"
	"strconv"
	"sync"
	"time"

	"aisix/extproc/jsonappend"
)

// accessLog has a line for each call, after what the operator should know of it. It is what
// slog's JSON handler makes of the same attributes, by appending: there is one for each call,
// and nothing else that is written as often. TestAccessLine holds it to slog.
type accessLog struct{ io.Writer }

// accessLines are buffers of lines.
var accessLines = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

func (l accessLog) Take(f *Facts) {
	b := accessLines.Get().(*[]byte)
	defer accessLines.Put(b)
	*b = f.appendAccess((*b)[:0], time.Now())
	_, _ = l.Write(*b) // a log that can't be written is nobody's to hear of
}

// appendAccess appends the call's line.
func (f *Facts) appendAccess(b []byte, now time.Time) []byte {
	line := accessLine(append(now.AppendFormat(append(b, `{"time":"`...), time.RFC3339Nano), `","level":"INFO","msg":"request"`...))
	line.text("request_id", f.RequestID)
	line.text("method", f.Method)
	line.text("path", f.Path)
	line.number("status", int64(f.Status))
	line.text("outcome", f.Outcome.String())
	line.number("latency_ms", f.Latency.Milliseconds())
	line.text("operation", f.Operation)
	line.text("error_type", f.ErrorType)
	line.text("error_code", f.ErrorCode)
	line.text("limit", f.Limit)
	line.text("client_address", f.ClientAddress)
	line.text("key_id", f.KeyID)
	line.text("model", f.Alias)
	line.text("model_id", f.ModelID)
	line.text("upstream_model", f.UpstreamModel)
	line.text("provider_key_id", f.ProviderKeyID)
	line.text("target", f.Target)
	line.upstreamRequestIDs(f)
	line.flag("stream", f.Stream)
	line.number("attempts", int64(len(f.Tries)))
	if d := f.firstByte(); d > 0 {
		line.number("time_to_first_token_ms", d.Milliseconds())
	}
	if f.Usage.Known() {
		line.number("prompt_tokens", int64(f.Usage.Prompt()))
		line.number("completion_tokens", int64(f.Usage.Completion()))
	}
	if n := f.Usage.CacheRead; n != nil {
		line.number("cached_tokens", int64(*n))
	}
	if n := f.Usage.CacheWrite; n != nil && *n > 0 {
		line.number("cache_write_tokens", int64(*n))
	}
	if n := f.Usage.CacheWrite1h; n != nil && *n > 0 {
		line.number("cache_write_1h_tokens", int64(*n))
	}
	if n := f.Usage.Reasoning; n != nil {
		line.number("reasoning_tokens", int64(*n))
	}
	if n := f.Usage.ServerTools; n != nil && *n > 0 {
		line.number("server_tool_requests", int64(*n))
	}
	if f.Partial {
		line.flag("partial", true)
	}
	return append(line, '}', '\n')
}

// accessLine is a line so far; empty texts and lists are left out.
type accessLine []byte

func (l *accessLine) text(name, value string) {
	if value != "" {
		*l = jsonappend.String(jsonappend.Name(*l, name), value)
	}
}

func (l *accessLine) number(name string, value int64) {
	*l = strconv.AppendInt(jsonappend.Name(*l, name), value, 10)
}

func (l *accessLine) flag(name string, value bool) {
	*l = strconv.AppendBool(jsonappend.Name(*l, name), value)
}

func (l *accessLine) upstreamRequestIDs(f *Facts) {
	b, some := jsonappend.Name(*l, "upstream_request_ids"), false
	b = append(b, '[')
	for id := range f.upstreamRequestIDs() {
		b, some = jsonappend.String(jsonappend.Comma(b), id), true
	}
	if some {
		*l = append(b, ']')
	}
}
