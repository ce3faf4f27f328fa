package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/admin/resource"
)

func testKeeper(t testing.TB, log *bytes.Buffer) *keeper {
	t.Helper()
	sealer, err := NewSealer([]byte(strings.Repeat("k", MasterKeySize)))
	if err != nil {
		t.Fatal(err)
	}
	return newKeeper(filepath.Join(t.TempDir(), "snapshot"), &Store{sealer: sealer, log: slog.New(slog.NewTextHandler(log, nil))})
}

func someState(n int) *state {
	s := &state{at: head{"e", int64(n)}, time: time.UnixMilli(1000).UTC(), rows: map[resource.Kind]map[string]string{resource.APIKeys: {}, resource.Models: {"m": "{}"}}}
	for i := range n {
		s.rows[resource.APIKeys][fmt.Sprint("k", i)] = fmt.Sprintf(`{"n":%d,"pad":"%s"}`, i, strings.Repeat("x", 200))
	}
	return s
}

// content is what the file holds.
func (k *keeper) content(t *testing.T) (at head, rows map[resource.Kind]map[string]string) {
	t.Helper()
	s, err := readFile(k.path, k.store.sealer)
	if err != nil {
		t.Fatal(err)
	}
	return s.at, s.rows
}

// A write costs the file what changed; what was appended is taken into a whole file
// once it has outgrown it.
func TestTheFileGrowsByWhatChanged(t *testing.T) {
	var log bytes.Buffer
	k := testKeeper(t, &log)
	k.whole(someState(10_000)) // several chunks
	k.write()
	if k.chunks < 3 || k.began < 10_000*200 {
		t.Fatalf("%d chunks, %d bytes", k.chunks, k.began)
	}
	want := someState(10_000)
	for i := range 20 {
		c := change{resource.APIKeys, fmt.Sprint("k", i), fmt.Sprint("new ", i)}
		if i%2 == 0 {
			c.body = ""
		}
		k.change(head{"e", 10_001 + int64(i)}, c)
		want.apply([]change{c})
		k.write()
	}
	if k.appended == 0 || k.appended > 20*200 {
		t.Errorf("%d bytes appended by 20 changes", k.appended)
	}
	at, rows := k.content(t)
	if diff := cmp.Diff(want.rows, rows); diff != "" || at != (head{"e", 10_020}) {
		t.Errorf("at %v (-want +got):\n%s", at, diff)
	}
	for i := 0; k.appended > 0; i++ { // until it is taken in
		if k.change(head{"e", 20_000 + int64(i)}, change{resource.Models, "m", strings.Repeat("y", 1<<20)}); i > 10 {
			t.Fatalf("%d bytes appended to %d", k.appended, k.began)
		}
		k.write()
	}
	if _, rows := k.content(t); len(rows[resource.APIKeys]) != 9_990 || len(rows[resource.Models]["m"]) != 1<<20 {
		t.Error("something was lost on the way")
	}
	if log.Len() > 0 {
		t.Error(&log)
	}
}

// Wherever a file is cut, it is a state that there was, or none; zeros in place of the
// end are what a power failure can leave of an append.
func TestAFileThatIsCutOff(t *testing.T) {
	k := testKeeper(t, &bytes.Buffer{})
	k.whole(someState(2))
	k.write()
	whole := map[int64]head{k.began: {"e", 2}} // by the length of the file then
	for i := range int64(3) {
		at := head{"e", 3 + i}
		k.change(at, change{resource.APIKeys, "k0", fmt.Sprint(i)})
		k.write()
		whole[k.began+k.appended] = at
	}
	text, err := os.ReadFile(k.path)
	if err != nil {
		t.Fatal(err)
	}
	last := head{}
	for cut := range int64(len(text)) + 1 {
		at, ends := whole[cut]
		if ends {
			last = at
		}
		if s, err := parseFile(text[:cut], k.store.sealer); cut < k.began && err == nil || cut >= k.began && (err != nil || s.at != last) {
			t.Fatalf("cut at %d of %d (whole: %d): %v, %v", cut, len(text), k.began, s, err)
		}
		if s, err := parseFile(append(bytes.Clone(text[:cut]), make([]byte, 64)...), k.store.sealer); ends && (err != nil || s.at != last) {
			t.Fatalf("zeros from %d on: %v, %v", cut, s, err)
		}
	}
}

// Chunks of one file do not open in another, nor in another place.
func TestChunksStayInTheirPlace(t *testing.T) {
	k := testKeeper(t, &bytes.Buffer{})
	var files [2][]byte
	for i := range files {
		k.whole(someState(1))
		k.write()
		for revision := range int64(2) {
			k.change(head{"e", 2 + revision}, change{resource.Models, "m", fmt.Sprint("same length ", revision)})
			k.write()
		}
		text, err := os.ReadFile(k.path)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = text
	}
	began, size := int(k.began), int(k.appended)/2
	one, two := files[0], files[1]
	for what, text := range map[string][]byte{
		"two changed places":  bytes.Join([][]byte{one[:began], one[began+size:], one[began : began+size]}, nil),
		"of another file":     bytes.Join([][]byte{one[:began], two[began:]}, nil),
		"one left out":        bytes.Join([][]byte{one[:began], one[began+size:]}, nil),
		"under another id":    bytes.Join([][]byte{two[:len(fileMagic)+fileIDSize], one[len(fileMagic)+fileIDSize:]}, nil),
		"twice the same":      bytes.Join([][]byte{one, one[began+size:]}, nil),
		"a changed length":    bytes.Join([][]byte{one[:began+3], {one[began+3] - 1}, one[began+4:]}, nil),
		"a tiny chunk":        append(bytes.Clone(one), 0, 0, 0, 1, 0),
		"garbage of a length": append(bytes.Clone(one), bytes.Repeat([]byte{0, 0, 0, 40}, 12)...),
	} {
		if s, err := parseFile(text, k.store.sealer); err == nil {
			t.Errorf("%s: read as %v", what, s.at)
		}
	}
}

// A file that can't be written, or that somebody else writes too, is told once; what
// comes meanwhile is not appended to what it does not follow.
func TestAFileThatCanNotBeWritten(t *testing.T) {
	var log bytes.Buffer
	k := testKeeper(t, &log)
	k.whole(someState(1))
	k.write()
	other := newKeeper(k.path, k.store)
	other.whole(someState(2))
	other.write()
	for i := range int64(3) {
		k.change(head{"e", 10 + i}, change{resource.Models, "m", "late"})
		k.write()
	}
	if at, rows := k.content(t); at.revision != 2 || rows[resource.Models]["m"] != "{}" {
		t.Errorf("the other's file is at %v: %v", at, rows)
	}
	if n := strings.Count(log.String(), "level=ERROR"); n != 1 || !strings.Contains(log.String(), "a file of its own") {
		t.Errorf("%d errors: %s", n, &log)
	}
	if k.wants() {
		t.Error("everything is wanted at once: a full disk would have it read all the time")
	}
	if k.wanted.Load() == 0 {
		t.Error("nothing is wanted")
	}
	k.wanted.Store(1)
	if !k.wants() {
		t.Error("nothing is wanted later")
	}
	k.whole(someState(3))
	k.write()
	if at, _ := k.content(t); at.revision != 3 || k.wants() {
		t.Errorf("at %v", at)
	}

	if err := os.Remove(k.path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(k.path, 0o700); err != nil {
		t.Fatal(err)
	}
	k.whole(someState(4))
	k.write()
	if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d errors: %s", n, &log)
	}
	if left, _ := filepath.Glob(k.temporary()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// More changes than memory is for are given up for everything anew.
func TestTooManyChangesWait(t *testing.T) {
	k := testKeeper(t, &bytes.Buffer{})
	k.whole(someState(1))
	k.write()
	for i := range int64(40) {
		k.change(head{"e", 2 + i}, change{resource.Models, "m", strings.Repeat("y", 1<<20)})
	}
	if k.pending > maxPending || !k.wants() {
		t.Errorf("%d bytes wait, wanted: %t", k.pending, k.wants())
	}
	k.write()
	if at, _ := k.content(t); at.revision != 1 {
		t.Errorf("at %v", at)
	}
}

func FuzzParseChunk(f *testing.F) {
	for _, c := range []chunk{{at: head{"e", 1}}, {more: true, at: head{"epoch", 1 << 40}, time: time.UnixMilli(-5),
		changes: []change{{resource.Models, "id", `{"value":{}}`}, {resource.APIKeys, "gone", ""}}}} {
		f.Add(c.encode())
	}
	f.Add([]byte{})
	f.Add([]byte{0, 1, 'e', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0})
	f.Add([]byte{0, 1, 'e', 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseChunk(b)
		if err != nil {
			return
		}
		again, err := parseChunk(c.encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, again, cmp.AllowUnexported(chunk{}, head{}, change{})); diff != "" {
			t.Error(diff)
		}
	})
}

// The fuzzer knows the key: whatever of a file it keeps whole does open.
func FuzzParseFile(f *testing.F) {
	k := testKeeper(f, &bytes.Buffer{})
	var file bytes.Buffer
	fileID := bytes.Repeat([]byte{7}, fileIDSize)
	if _, _, err := k.fill(&file, fileID, someState(2)); err != nil {
		f.Fatal(err)
	}
	appended, err := k.store.sealer.sealChunk(fileID, 1, &chunk{at: head{"e", 3}, changes: []change{{resource.Models, "m", ""}}})
	if err != nil {
		f.Fatal(err)
	}
	file.Write(appended)
	f.Add(file.Bytes())
	f.Add(file.Bytes()[:len(fileMagic)+fileIDSize])
	f.Add([]byte(fileMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseFile(b, k.store.sealer)
		if err == nil && s.at.epoch != "e" {
			t.Errorf("made up: %v", s.at)
		}
	})
}
