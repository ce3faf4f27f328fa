package usage

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"time"

	usagev1 "aisix/proto/aisix/v1"
)

// Calls that reach no upstream cost their caller nothing: a refusal, a list of
// models, a caller who left at once. So there can be any number of them.
const (
	// freeCalls is how many of them a second are told one by one, of a key, and of an
	// address where there is no key.
	freeCalls = 50
	// mostSources is how many keys and how many addresses are told apart in a second;
	// the others count as one.
	mostSources = 4096
	// mostSums is how many summed records grow at a time, mostTold how many of them
	// are written in a tick: who varies model and mistake gets sums that wait longer.
	mostSums = 16384
	mostTold = 50
	// tick is how long a sum grows.
	tick = time.Second
)

// floods decides what is told of a call: its own line and record, or its part in a
// sum. Sums are told tick by tick, and all at the end; nothing is left out of the
// totals. All that it keeps is bounded.
type floods struct {
	access *slog.Logger
	writer *Writer // nil: no records
	logs   []Sink  // of the calls that are told by themselves

	telling sync.Mutex // held while sums are told: the end waits for it

	mu        sync.Mutex
	second    int64 // that the next two are of
	keys      map[string]int
	addresses map[netip.Prefix]int
	lines     map[source]*sum
	records   map[group]*usagev1.Record
	timer     *time.Timer // runs while anything is summed
	closed    bool
}

// source is who a line is about: a key, or where there is none an address. Those
// that are not told apart have neither.
type source struct {
	keyed   bool
	key     string
	address netip.Prefix
}

// sum is what stands in one line.
type sum struct {
	count    int64
	statuses map[int]int64
}

// group is what the calls of one summed record have in common: nothing that a caller
// can choose freely.
type group struct {
	day                 int64
	keyID               string
	teamID, userID      string
	modelAlias, modelID string
	providerKeyID       string
	operation, dialect  string
	status              int
	errorType           string
	outcome             Outcome
}

func newFloods(access *slog.Logger, writer *Writer, logs ...Sink) *floods {
	return &floods{access: access, writer: writer, logs: logs, keys: map[string]int{}, addresses: map[netip.Prefix]int{},
		lines: map[source]*sum{}, records: map[group]*usagev1.Record{}}
}

// Take tells of a call, by itself or in a sum.
func (f *floods) Take(c *Facts) {
	told := f.admit(c)
	if told.line {
		for _, log := range f.logs {
			log.Take(c)
		}
	}
	if told.record && f.writer != nil {
		f.writer.Take(c)
	}
}

// told is what is told of one call by itself.
type told struct{ line, record bool }

// admit decides about a call. A call without a key has no record.
func (f *floods) admit(c *Facts) told {
	if len(c.Tries) > 0 {
		return told{line: true, record: c.KeyID != ""}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if second := time.Now().Unix(); second != f.second {
		f.second = second
		clear(f.keys)
		clear(f.addresses)
	}
	if f.closed {
		return told{line: true, record: c.KeyID != ""}
	}
	if c.KeyID == "" {
		address, within := count(f.addresses, network(c.ClientAddress))
		if !within {
			f.addLine(source{address: address}, c)
		}
		return told{line: within}
	}
	key, within := count(f.keys, c.KeyID)
	if !within {
		f.addLine(source{keyed: true, key: key}, c)
	}
	alone := within && !f.crowded() || !f.addRecord(c)
	return told{line: within, record: alone}
}

// crowded reports whether too many records wait for Redis: then those of calls that
// cost something come first, and all others are summed.
func (f *floods) crowded() bool { return f.writer != nil && f.writer.crowded() }

// count counts a call of a source, and reports whether it is to be told by itself.
// The source is the zero one where too many others are told apart already.
func count[name comparable](calls map[name]int, source name) (name, bool) {
	if _, known := calls[source]; !known && len(calls) >= mostSources {
		source = *new(name)
	}
	calls[source]++
	return source, calls[source] <= freeCalls
}

// network is who an address belongs to: an IPv6 host has 2⁶⁴ of them.
func network(address string) netip.Prefix {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 32
	if a = a.Unmap(); a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // no error: the address has so many
	return p
}

// addLine adds a call to the line about its source. There is room for all: sources
// beyond the bound are one.
func (f *floods) addLine(who source, c *Facts) {
	s := f.lines[who]
	if s == nil {
		s = &sum{statuses: map[int]int64{}}
		f.lines[who] = s
	}
	s.count++
	s.statuses[c.Status]++
	f.wake()
}

// addRecord adds a call to a summed record; false where no sum is free, or the call
// has more to it than a sum can hold.
func (f *floods) addRecord(c *Facts) bool {
	if f.writer == nil || c.Usage.Known() {
		return false
	}
	g := group{
		day: c.Time.Unix() / (24 * 60 * 60), keyID: c.KeyID, teamID: c.TeamID, userID: c.UserID, modelAlias: c.ModelAlias, modelID: c.ModelID, providerKeyID: c.ProviderKeyID,
		operation: c.Operation, dialect: c.Dialect, status: c.Status, errorType: c.ErrorType, outcome: c.Outcome,
	}
	r := f.records[g]
	if r == nil {
		if len(f.records) >= mostSums {
			return false
		}
		r = c.record()
		r.RequestId, r.Alias, r.UpstreamModel, r.ClientAddress = "", "", "", ""
		r.Latency, r.TimeToFirstToken, r.Stream = nil, nil, false
		f.records[g] = r
	}
	r.Count++
	f.wake()
	return true
}

// wake sees to it that the sums are told within a tick.
func (f *floods) wake() {
	if f.timer == nil {
		f.timer = time.AfterFunc(tick, func() { f.tell(false) })
	}
}

// tell writes the sums: all where it is the last time.
func (f *floods) tell(last bool) {
	f.telling.Lock()
	defer f.telling.Unlock()
	f.mu.Lock()
	lines, records := f.lines, f.take(last)
	f.lines, f.timer = map[source]*sum{}, nil
	if len(f.records) > 0 {
		f.wake()
	}
	f.closed = f.closed || last
	f.mu.Unlock()

	for who, s := range lines {
		f.access.LogAttrs(context.Background(), slog.LevelInfo, "requests not logged one by one", sumLine(who, s)...)
	}
	if len(records) > 0 {
		f.writer.Add(records)
	}
}

// take gives the summed records that are due.
func (f *floods) take(last bool) (due []*usagev1.Record) {
	if !last && f.crowded() {
		return nil
	}
	for g, r := range f.records {
		if len(due) >= mostTold && !last {
			break
		}
		due = append(due, r)
		delete(f.records, g)
	}
	return due
}

func sumLine(who source, s *sum) []slog.Attr {
	line := line{}
	switch {
	case who.keyed:
		line.text("key_id", cmp.Or(who.key, others))
	case !who.address.IsValid():
		line.text("client_address", others)
	case who.address.IsSingleIP():
		line.text("client_address", who.address.Addr().String())
	default:
		line.text("client_address", who.address.String())
	}
	line.number("count", s.count)
	statuses := make(map[string]int64, len(s.statuses))
	for status, n := range s.statuses {
		statuses[strconv.Itoa(status)] = n
	}
	return append(line, slog.Any("statuses", statuses))
}

// others are the sources that were not told apart.
const others = "others"

// close tells what is summed; from then on every call is told by itself.
func (f *floods) close() { f.tell(true) }
