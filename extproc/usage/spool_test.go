package usage

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"aisix/admin/ledger"
)

func entries(t testing.TB, n int) []ledger.Entry {
	t.Helper()
	all := make([]ledger.Entry, n)
	for i, r := range some(n) {
		var err error
		if all[i], err = ledger.NewEntry(r); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// put is a file in a spool's directory.
func put(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// left are the names of the files in a spool's directory.
func left(t *testing.T, dir string) []string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	return names
}

func TestSpool(t *testing.T) {
	dir := t.TempDir()
	b := newBook(true)
	w := writer(t, b, WriterOptions{SpoolDir: dir, Batch: 2})
	w.Add(some(5))
	if err := closed(t, w); err != nil {
		t.Fatal(err)
	}
	if files := left(t, dir); len(files) != 3 {
		t.Fatalf("spooled %v", files)
	}
	put(t, dir, "notes.txt", []byte("not ours"))
	if err := os.Mkdir(filepath.Join(dir, uuid.NewString()+suffix), 0o700); err != nil {
		t.Fatal(err)
	}

	b = newBook(true)
	w = writer(t, b, WriterOptions{SpoolDir: dir})
	<-b.tried
	w.Add(some(1))
	b.set(false)
	if err := closed(t, w); err != nil || b.count() != 6 {
		t.Errorf("%d records, %v", b.count(), err)
	}
	if files := left(t, dir); len(files) != 2 {
		t.Errorf("left: %v", files)
	}
}

// Of a file that is broken, what can be read is stored; what cannot be is counted, logged, and kept.
func TestBrokenSpoolFiles(t *testing.T) {
	whole := encode(entries(t, 4))
	one := len(whole) / 4
	bent := append([]byte(nil), whole...)
	bent[one+1] = 0xff // the second record's first tag
	for _, test := range []struct {
		name         string
		data         []byte
		stored, lost int
	}{
		{"cut", whole[:3*one+2], 3, 1},
		{"cut in a length", append(whole[:2*one:2*one], 0x80), 2, 1},
		{"bent in the middle", bent, 3, 1},
		{"a wild length", append(whole[:one:one], 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2), 1, 1},
		{"noise", []byte{200}, 0, 1},
		{"long", nil, 0, 1},
		{"empty", nil, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, ending := range []string{suffix, unsure} {
				dir, m, b := t.TempDir(), NewMetrics(), newBook(false)
				var log lines
				path := put(t, dir, uuid.NewString()+ending, test.data)
				if test.name == "long" {
					if err := os.Truncate(path, maxFile+1); err != nil {
						t.Fatal(err)
					}
				}
				w := writer(t, b, WriterOptions{SpoolDir: dir, Metrics: m, Log: slog.New(slog.NewTextHandler(&log, nil))})
				if err := closed(t, w); err != nil || b.count() != test.stored || lost(m) != float64(test.lost) {
					t.Errorf("%d stored, %v lost, %v; want %d, %d", b.count(), lost(m), err, test.stored, test.lost)
				}
				files := left(t, dir)
				if test.lost > 0 != (len(files) == 1 && filepath.Join(dir, files[0]) == path+bad) || test.lost == 0 && len(files) > 0 {
					t.Errorf("left: %v", files)
				}
				if n := strings.Count(log.String(), "level=ERROR"); n != test.lost {
					t.Errorf("%d lines: %s", n, log.String())
				}
			}
		})
	}
}

// A file that nobody may read is set aside as well, and counted.
func TestUnreadableSpoolFile(t *testing.T) {
	dir, m, b := t.TempDir(), NewMetrics(), newBook(false)
	path := put(t, dir, uuid.NewString()+suffix, encode(entries(t, 1)))
	s, err := openSpool(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	// Root may read everything: the claim is made as open would fail it.
	c := &claim{Batch: ledger.Batch{ID: batchID(filepath.Base(path))}, spool: s, name: filepath.Base(path), lost: 1, reason: os.ErrPermission}
	if err := c.done(); err != nil {
		t.Fatal(err)
	}
	if files := left(t, dir); len(files) != 1 || filepath.Join(dir, files[0]) != path+bad {
		t.Errorf("left: %v", files)
	}
	w := writer(t, b, WriterOptions{SpoolDir: dir, Metrics: m})
	if err := closed(t, w); err != nil || b.count() != 0 {
		t.Errorf("what is set aside was sent: %d, %v", b.count(), err)
	}
}

// So many files are set aside, and no more.
func TestSetAsideIsBounded(t *testing.T) {
	dir := t.TempDir()
	for range maxBad + 20 {
		put(t, dir, uuid.NewString()+suffix, []byte{200})
	}
	m := NewMetrics()
	if err := closed(t, writer(t, newBook(false), WriterOptions{SpoolDir: dir, Metrics: m})); err != nil {
		t.Fatal(err)
	}
	if files := left(t, dir); len(files) != maxBad || lost(m) != maxBad+20 {
		t.Errorf("%d files left, %v records lost", len(files), lost(m))
	}
}

// Two processes on one directory: what one writes or sends, the other leaves alone;
// what a dead one left, the living one sends; nothing is sent twice.
func TestTwoProcessesShareASpool(t *testing.T) {
	dir, b := t.TempDir(), newBook(true)
	old := writer(t, b, WriterOptions{SpoolDir: dir, Batch: 1})
	next := writer(t, b, WriterOptions{SpoolDir: dir, Batch: 1})
	old.Add(some(30))
	next.Add(some(30))
	for len(left(t, dir)) < 60 {
		<-b.tried
	}
	b.set(false)
	if err := errors.Join(closed(t, old), closed(t, next)); err != nil {
		t.Fatal(err)
	}
	if files := left(t, dir); len(files) != 0 || b.count() != 60 || len(b.batches) != 60 {
		t.Errorf("%d records of %d batches, left: %v", b.count(), len(b.batches), files)
	}
	for id, n := range b.batches {
		if n != 1 {
			t.Errorf("batch %s was sent %d times", id, n)
		}
	}
}

func TestClaims(t *testing.T) {
	dir := t.TempDir()
	one, err := openSpool(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	other, err := openSpool(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.save(ledger.NewBatch(entries(t, 2))); err != nil {
		t.Fatal(err)
	}
	names, err := other.waiting()
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	c, err := other.claim(names[0])
	if err != nil || len(c.Entries) != 2 {
		t.Fatal(c, err)
	}
	if _, err := one.claim(names[0]); !errors.Is(err, errTaken) {
		t.Errorf("claimed twice: %v", err)
	}
	c.release()
	if c, err = one.claim(names[0]); err != nil {
		t.Fatal(err)
	}
	if err := c.done(); err != nil {
		t.Fatal(err)
	}
	if _, err := other.claim(names[0]); !errors.Is(err, errTaken) {
		t.Errorf("claimed after its end: %v", err)
	}
	if files := left(t, dir); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
}

// After one that fails, the others come first.
func TestWaitingGoesAround(t *testing.T) {
	dir := t.TempDir()
	ids := []string{"00000000-0000-4000-8000-000000000001.usage", "00000000-0000-4000-8000-000000000002.new", "00000000-0000-4000-8000-000000000003.usage"}
	for _, id := range ids {
		put(t, dir, id, nil)
	}
	s := &spool{dir: dir}
	for after, first := range map[string]int{"": 0, ids[0]: 1, ids[1]: 2, ids[2]: 0, "00000000-0000-4000-8000-000000000001.usage0": 1, "x": 0} {
		s.after = after
		names, err := s.waiting()
		if err != nil || len(names) != 3 || names[0] != ids[first] {
			t.Errorf("after %s: %v, %v", after, names, err)
		}
	}
}

func FuzzSpool(f *testing.F) {
	whole := encode(entries(f, 3))
	f.Add(whole)
	f.Add([]byte{})
	f.Add(whole[:len(whole)-1])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{3, 10, 1, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		read, lost, reason := decode(data)
		if lost > 0 != (reason != nil) {
			t.Fatalf("%d lost, %v", lost, reason)
		}
		back, lost, reason := decode(encode(read))
		if lost != 0 || reason != nil || len(back) != len(read) {
			t.Fatal(lost, reason)
		}
		for i := range back {
			if !proto.Equal(back[i].Record, read[i].Record) {
				t.Fatal("changed")
			}
		}
	})
}

func TestDecodeCutAnywhere(t *testing.T) {
	whole := encode(entries(t, 3))
	one := len(whole) / 3 // the records are of one length
	for i := range whole {
		read, lost, reason := decode(whole[:i])
		boundary := i%one == 0
		if len(read) != i/one || boundary != (reason == nil) || lost > 1 || reason != nil && !errors.Is(reason, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d of %d: %d read, %d lost, %v", i, len(whole), len(read), lost, reason)
		}
	}
}
