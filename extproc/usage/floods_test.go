package usage

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// flooded is a recorder on a ledger of its own, and what it has told.
type flooded struct {
	*Recorder
	t       *testing.T
	book    *book
	writer  *Writer
	out     shared
	metrics *Metrics
}

// shared is a log that is written to from several goroutines.
type shared struct {
	mu sync.Mutex
	bytes.Buffer
}

func (s *shared) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.Write(line)
}

func flood(t *testing.T, away bool) *flooded {
	f := &flooded{t: t, book: newBook(away), metrics: NewMetrics()}
	f.writer = writer(t, f.book, WriterOptions{Memory: 1000, Metrics: f.metrics})
	log := slog.New(slog.NewJSONHandler(&f.out, nil))
	f.Recorder = NewRecorder(&f.out, log, f.metrics, f.writer)
	return f
}

// end stops in good order, and reads the log: how many calls were told one by one,
// and the sums.
func (f *flooded) end() (single int, sums []map[string]any) {
	f.t.Helper()
	f.Close()
	if err := closed(f.t, f.writer); err != nil {
		f.t.Error(err)
	}
	for text := range strings.Lines(f.out.String()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			f.t.Fatal(err)
		}
		switch line["msg"] {
		case "request":
			single++
		case "requests not logged one by one":
			sums = append(sums, line)
		}
	}
	return single, sums
}

// counted is how many calls the metric has.
func (f *flooded) counted() (calls float64) {
	families, err := f.metrics.registry.Gather()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "aisix_requests_total" {
			for _, m := range family.GetMetric() {
				calls += m.GetCounter().GetValue()
			}
		}
	}
	return calls
}

func refused(key, address string) *Facts {
	return &Facts{Time: time.Now(), RequestID: "r", KeyID: key, ClientAddress: address, Alias: "m", ModelAlias: "m", Status: 429, ErrorType: "rate_limit_exceeded", Outcome: Refused}
}

// Refusals of a key beyond 50 a second are summed: in one line, and in a record that
// stands for all of them. None is missing in the totals.
func TestFloodOfAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flood(t, false)
		for range 1000 {
			f.Record(refused("k", "10.0.0.1"))
		}
		for range 60 { // calls that cost something, and another key's, are told as ever
			f.Record(&Facts{Time: time.Now(), KeyID: "k", Alias: "m", ModelAlias: "m", Tries: []Try{{}}, Status: 200, Outcome: Succeeded})
		}
		f.Record(refused("other", "10.0.0.1"))
		time.Sleep(2 * tick)
		if f.book.count() != freeCalls+1+60+1 || f.book.calls != 1061 {
			t.Errorf("%d records of %d calls after a tick", f.book.count(), f.book.calls)
		}
		for range freeCalls + 7 { // the next second has its own
			f.Record(refused("k", "10.0.0.1"))
		}
		single, sums := f.end()
		if single != 2*freeCalls+60+1 || len(sums) != 2 {
			t.Errorf("%d lines and %v", single, sums)
		}
		for i, want := range []float64{950, 7} {
			if s := sums[i]; s["key_id"] != "k" || s["count"] != want || fmt.Sprint(s["statuses"]) != fmt.Sprintf("map[429:%v]", want) {
				t.Errorf("%v, want %v", s, want)
			}
		}
		if f.book.count() != 2*freeCalls+2+60+1 || f.book.calls != 1061+freeCalls+7 || f.counted() != 1061+freeCalls+7 {
			t.Errorf("%d records of %d calls, %v counted", f.book.count(), f.book.calls, f.counted())
		}
	})
}

// A request without a known key has no record, whatever became of it; its line is
// one of 50 a second of its address.
func TestFloodWithoutAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flood(t, false)
		for i := range 300 {
			f.Record(&Facts{ClientAddress: "10.0.0.1", Status: 401, ErrorType: "invalid_api_key"})
			f.Record(&Facts{ClientAddress: fmt.Sprintf("2001:db8::%x", i+1), Status: []int{401, 404}[i%2], ErrorType: "x"}) // one network
			f.Record(&Facts{ClientAddress: "no address", Status: 0})
		}
		f.Record(&Facts{ClientAddress: "10.0.0.2", Status: 401})
		single, sums := f.end()
		if single != 3*freeCalls+1 || len(sums) != 3 {
			t.Errorf("%d lines and %v", single, sums)
		}
		got := map[any]string{}
		for _, s := range sums {
			got[s["client_address"]] = fmt.Sprint(s["count"], s["statuses"])
		}
		if got["10.0.0.1"] != "250 map[401:250]" || got["2001:db8::/64"] != "250 map[401:125 404:125]" || got["others"] != "250 map[0:250]" {
			t.Errorf("%v", got)
		}
		if f.book.count() != 0 || f.counted() != 901 {
			t.Errorf("%d records, %v counted", f.book.count(), f.counted())
		}
	})
}

// Many keys and addresses, many kinds of mistakes, and Redis away: what is kept stays
// bounded, and the sums exact.
func TestFloodIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flood(t, false)
		const sources = 3 * mostSources
		for i := range sources {
			f.Record(&Facts{ClientAddress: fmt.Sprintf("10.%d.%d.1", i/256, i%256), Status: 401})
		}
		if n := len(f.floods.addresses); n != mostSources+1 {
			t.Errorf("%d addresses are told apart", n)
		}
		single, sums := f.end()
		if single != mostSources+freeCalls || len(sums) != 1 || sums[0]["client_address"] != others || sums[0]["count"] != float64(sources-single) {
			t.Errorf("%d lines and %v", single, sums)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := flood(t, false)
		const kinds = 200
		for i := range 10 * kinds {
			c := refused("k", "")
			c.ModelAlias = fmt.Sprint("m", i%kinds)
			c.UpstreamModel = fmt.Sprint(i) // of the caller's choosing: no sum of its own
			f.Record(c)
		}
		time.Sleep(tick + tick/2)
		if n := f.book.count(); n != freeCalls+mostTold {
			t.Errorf("%d records after a tick", n)
		}
		f.end()
		if f.book.count() != freeCalls+kinds || f.book.calls != 10*kinds {
			t.Errorf("%d records of %d calls", f.book.count(), f.book.calls)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := flood(t, true) // room for 1000
		for range 100 {
			for range 10 * freeCalls {
				f.Record(refused("k", ""))
			}
			time.Sleep(tick)
		}
		for range 400 {
			f.Record(&Facts{Time: time.Now(), KeyID: "k", Tries: []Try{{}}, Status: 200, Outcome: Succeeded})
		}
		f.book.set(false)
		f.end()
		if lost := lost(f.metrics); f.book.calls != 100*10*freeCalls+400 || lost != 0 {
			t.Errorf("%d calls, %v lost", f.book.calls, lost)
		}
	})
}

// Calls that come after the end are told one by one.
func TestFloodAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := flood(t, false)
		f.Close()
		for range 2 * freeCalls {
			f.Record(refused("k", ""))
		}
		if single, sums := f.end(); single != 2*freeCalls || len(sums) != 0 || f.book.count() != 2*freeCalls {
			t.Errorf("%d lines, %v, %d records", single, sums, f.book.count())
		}
	})
}

// A call that the sums have room for costs the same few allocations as any other.
func BenchmarkFlood(b *testing.B) {
	quiet := slog.New(slog.DiscardHandler)
	r := NewRecorder(io.Discard, quiet, NewMetrics(), nil)
	f := new(Facts) // it is part of the call
	b.ReportAllocs()
	for b.Loop() {
		*f = Facts{ClientAddress: "10.0.0.1", RequestID: "11111111-1111-4111-8111-111111111111", Method: "POST", Path: "/v1/chat/completions", Operation: "converse", Status: 401, ErrorType: "invalid_api_key"}
		r.Record(f)
	}
}

// What every call costs: cleaned, counted, its line and its record.
func BenchmarkRecord(b *testing.B) {
	log := slog.New(slog.DiscardHandler)
	w, err := NewWriter(newBook(false), WriterOptions{Memory: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close(b.Context())
	r := NewRecorder(io.Discard, log, NewMetrics(), w)
	f := new(Facts) // it is part of the call
	b.ReportAllocs()
	for b.Loop() {
		*f = *calls["success"]
		f.RequestID, f.Path = "11111111-1111-4111-8111-111111111111", "/v1/chat/completions"
		f.IsKey = func(s string) bool { return sha256.Sum256([]byte(s)) == [32]byte{} }
		r.Record(f)
	}
}
