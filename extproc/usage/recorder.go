// Package usage turns a finished call into an access-log line, the operator's
// error line, metrics and a usage record.
//
// It knows what is told about a call and to whom; it does not know how a call is
// served, nor how Redis keeps records (admin/ledger does). Nothing that it
// writes holds a key, a prompt or an answer. extproc fills a Call and hands it to
// Recorder.Record once, at the end of each request, failed authentication
// included; no part of that waits for Redis or for a disk.
//
// Callers can be hostile. What they and upstreams chose is cleaned and cut before
// anything is made of it (clean.go), a key in the wrong place is told to nobody
// (secret.go), and what costs a caller nothing cannot fill logs and ledger
// (floods.go).
package usage

import (
	"context"
	"log/slog"

	usagev1 "aisix/proto/aisix/v1"
)

// Recorder records calls.
type Recorder struct {
	access  *slog.Logger
	log     *slog.Logger
	metrics *Metrics
	writer  *Writer
	floods  *floods
}

// NewRecorder records to all four; access gets the lines of calls, log the
// operator's error lines. writer may be nil: then no usage records are kept.
func NewRecorder(access, log *slog.Logger, m *Metrics, writer *Writer) *Recorder {
	return &Recorder{access: access, log: log, metrics: m, writer: writer, floods: newFloods(access, writer)}
}

// Record tells all about c, which is the recorder's from then on.
func (r *Recorder) Record(c *Call) {
	c.clean()
	r.metrics.call(c)
	told := r.floods.admit(c)
	if told.line {
		r.lines(c)
	}
	if told.record && r.writer != nil {
		r.writer.Add([]*usagev1.Record{c.record()})
	}
}

// Close tells what was summed and not yet told; the writer is closed after it.
func (r *Recorder) Close() { r.floods.close() }

// lines writes the access-log line, after what the operator should know.
func (r *Recorder) lines(c *Call) {
	if c.Err != nil {
		r.log.LogAttrs(context.Background(), errorLevel(c), "call failed", errorLine(c)...)
	}
	for _, note := range c.Notes {
		r.log.LogAttrs(context.Background(), slog.LevelWarn, "upstream", noteLine(c, note)...)
	}
	r.access.LogAttrs(context.Background(), slog.LevelInfo, "request", accessLine(c)...)
}

func errorLevel(c *Call) slog.Level {
	switch {
	case c.outcome() == Cancelled:
		return slog.LevelInfo
	case c.Status >= 400 && c.Status < 500:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// errorLine is for the operator: AWS's words in full, beside both request ids.
func errorLine(c *Call) []slog.Attr {
	line := line{}
	line.text("request_id", c.RequestID)
	line.list("upstream_request_ids", c.UpstreamRequestIDs)
	line.number("status", int64(c.Status))
	line.text("error_type", c.ErrorType)
	line.text("error_code", c.ErrorCode)
	line.text("error", c.redact(c.Err.Error()))
	line.text("key_id", c.KeyID)
	line.text("model", c.Alias)
	line.text("upstream_model", c.UpstreamModel)
	line.text("provider_key_id", c.ProviderKeyID)
	return line
}

func noteLine(c *Call, note string) []slog.Attr {
	line := line{}
	line.text("request_id", c.RequestID)
	line.list("upstream_request_ids", c.UpstreamRequestIDs)
	line.text("note", c.redact(note))
	line.text("upstream_model", c.UpstreamModel)
	return line
}

func accessLine(c *Call) []slog.Attr {
	line := make(line, 0, 32)
	line.text("request_id", c.RequestID)
	line.text("method", c.Method)
	line.text("path", c.Path)
	line.number("status", int64(c.Status))
	line.text("outcome", c.outcome().String())
	line.number("latency_ms", c.Latency.Milliseconds())
	line.text("operation", c.Operation)
	line.text("error_type", c.ErrorType)
	line.text("error_code", c.ErrorCode)
	line.text("limit", c.Limit)
	line.text("client_address", c.ClientAddress)
	line.text("key_id", c.KeyID)
	line.text("model", c.Alias)
	line.text("model_id", c.ModelID)
	line.text("upstream_model", c.UpstreamModel)
	line.text("provider_key_id", c.ProviderKeyID)
	line.list("upstream_request_ids", c.UpstreamRequestIDs)
	line = append(line, slog.Bool("stream", c.Stream))
	line.number("attempts", int64(c.Attempts))
	if c.FirstByte > 0 {
		line.number("time_to_first_token_ms", c.FirstByte.Milliseconds())
	}
	if c.Usage.Known() {
		line.number("prompt_tokens", int64(c.Usage.Prompt()))
		line.number("completion_tokens", int64(c.Usage.Completion()))
	}
	if n := c.Usage.CacheRead; n != nil {
		line.number("cached_tokens", int64(*n))
	}
	if n := c.Usage.Reasoning; n != nil {
		line.number("reasoning_tokens", int64(*n))
	}
	if c.Partial {
		line = append(line, slog.Bool("partial", true))
	}
	return line
}

// line is attributes; empty texts and lists are left out.
type line []slog.Attr

func (l *line) text(key, value string) {
	if value != "" {
		*l = append(*l, slog.String(key, value))
	}
}

func (l *line) list(key string, values []string) {
	if len(values) > 0 {
		*l = append(*l, slog.Any(key, values))
	}
}

func (l *line) number(key string, value int64) { *l = append(*l, slog.Int64(key, value)) }
