// Package usage turns the facts of a finished call into an access-log line, the
// operator's error line, metrics and a usage record.
//
// It knows what is told about a call and to whom; it does not know how a call is
// served, nor how Redis keeps records (admin/ledger does). Nothing that it
// writes holds a key, a prompt or an answer. extproc fills the Facts as a call goes
// and hands them to Recorder.Record once, at the end of each request, failed
// authentication included; no part of that waits for Redis or for a disk.
//
// Callers can be hostile. What they and upstreams chose is cleaned and cut before
// anything is made of it (clean.go), a key in the wrong place is told to nobody
// (secret.go), and what costs a caller nothing cannot fill logs and ledger
// (floods.go).
package usage

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"time"
)

// Sink is told of finished calls. The facts are clean by then, and no longer than
// Take the sink's to read.
type Sink interface{ Take(*Facts) }

// Recorder records calls.
type Recorder struct {
	sinks  []Sink
	floods *floods
}

// NewRecorder records to all four; access gets the lines of calls, which come from many
// goroutines at once, log the operator's error lines. access may be nil: then no lines are
// written; and writer: then no usage records are kept.
func NewRecorder(access io.Writer, log *slog.Logger, m *Metrics, writer *Writer) *Recorder {
	sums, logs := slog.New(slog.DiscardHandler), []Sink{errorLog{log}}
	if access != nil {
		sums, logs = slog.New(slog.NewJSONHandler(access, nil)), append(logs, accessLog{access})
	}
	floods := newFloods(sums, writer, logs...)
	return &Recorder{sinks: []Sink{m, floods}, floods: floods}
}

// Record tells the sinks of f, which is the recorder's from then on.
func (r *Recorder) Record(f *Facts) {
	f.clean()
	for _, sink := range r.sinks {
		sink.Take(f)
	}
}

// Close tells what was summed and not yet told; the writer is closed after it.
func (r *Recorder) Close() { r.floods.close() }

// errorLog is the operator's: what no caller may see.
type errorLog struct{ *slog.Logger }

func (l errorLog) Take(f *Facts) {
	if f.Err != nil {
		tell(l.Logger, errorLevel(f), "call failed", errorLine(f))
	}
	for _, note := range f.Notes {
		tell(l.Logger, slog.LevelWarn, "upstream", noteLine(f, note))
	}
}

// tell is LogAttrs of a logger, which would also find out where it was called from.
func tell(l *slog.Logger, level slog.Level, message string, attrs []slog.Attr) {
	if ctx, h := context.Background(), l.Handler(); h.Enabled(ctx, level) {
		r := slog.NewRecord(time.Now(), level, message, 0)
		r.AddAttrs(attrs...)
		_ = h.Handle(ctx, r) // a log that can't be written is nobody's to hear of
	}
}

func errorLevel(f *Facts) slog.Level {
	switch {
	case f.Outcome == Cancelled:
		return slog.LevelInfo
	case f.Status >= 400 && f.Status < 500:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// errorLine is for the operator: AWS's words in full, beside both request ids.
func errorLine(f *Facts) []slog.Attr {
	line := line{}
	line.text("request_id", f.RequestID)
	line.list("upstream_request_ids", slices.Collect(f.upstreamRequestIDs()))
	line.number("status", int64(f.Status))
	line.text("error_type", f.ErrorType)
	line.text("error_code", f.ErrorCode)
	line.text("error", f.redact(f.Err.Error()))
	line.text("key_id", f.KeyID)
	line.text("model", f.Alias)
	line.text("upstream_model", f.UpstreamModel)
	line.text("provider_key_id", f.ProviderKeyID)
	return line
}

func noteLine(f *Facts, note string) []slog.Attr {
	line := line{}
	line.text("request_id", f.RequestID)
	line.list("upstream_request_ids", slices.Collect(f.upstreamRequestIDs()))
	line.text("note", f.redact(note))
	line.text("upstream_model", f.UpstreamModel)
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
