package usage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"aisix/admin/ledger"
	usagev1 "aisix/proto/aisix/v1"
)

// spool is a directory of batches, one file each: "<batch id>.usage" holds the
// records' bytes, each after its length (protobuf's delimited form). It is written
// as "<batch id>.new", synced and renamed; a .new that a process left which died
// while it wrote is a batch as far as it goes.
//
// Processes may share the directory: one that drains and the one that follows it do.
// Who writes or sends a file holds its lock (flock), which ends with the process.
// What cannot be read is kept as "<batch id>.usage.bad", for a human.
type spool struct {
	dir   string
	limit int64  // of all files together, in bytes
	bytes int64  // of the files, when they were last looked at, and what was saved since
	after string // the file that was last tried in vain: the next ones come first
}

const (
	suffix = ".usage"
	unsure = ".new"
	bad    = ".bad"
	// maxRecord and maxFile bound what is read. A record of ours has a few kilobytes.
	maxRecord = 1 << 20
	maxFile   = 64 << 20
	// maxBad is how many files that cannot be read are kept.
	maxBad = 100
)

var (
	errSpoolFull = errors.New("the spool is full")
	// errTaken is of a file that another process has, or had, in hand.
	errTaken = errors.New("another process has the file")
)

func openSpool(dir string, limit int64) (*spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &spool{dir: dir, limit: limit}
	_, err := s.waiting()
	return s, err
}

// waiting are the files that wait, each once in a round of tries.
func (s *spool) waiting() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	s.bytes = 0
	var names []string
	for _, e := range entries {
		if !isBatch(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // gone since
		}
		s.bytes += info.Size()
		names = append(names, e.Name())
	}
	next, found := slices.BinarySearch(names, s.after)
	if found {
		next++
	}
	return slices.Concat(names[next:], names[:next]), nil
}

func isBatch(name string) bool {
	_, err := uuid.Parse(batchID(name))
	return err == nil && (strings.HasSuffix(name, suffix) || strings.HasSuffix(name, unsure))
}

func batchID(name string) string { return strings.TrimSuffix(name, filepath.Ext(name)) }

// save writes a batch; it is there whole or not at all, after a power failure too.
func (s *spool) save(b ledger.Batch) error {
	data := encode(b.Entries)
	if s.bytes+int64(len(data)) > s.limit {
		return errSpoolFull
	}
	// It gets the name that others look for once it is locked.
	f, err := os.CreateTemp(s.dir, "locking-*")
	if err != nil {
		return err
	}
	defer f.Close()
	name := f.Name()
	step := func(to string) error {
		err := os.Rename(name, filepath.Join(s.dir, to))
		if err == nil {
			name = filepath.Join(s.dir, to)
		}
		return err
	}
	write := func() error { _, err := f.Write(data); return errors.Join(err, f.Sync()) }
	for _, act := range []func() error{
		func() error { return lock(f) },
		func() error { return step(b.ID + unsure) },
		write,
		func() error { return step(b.ID + suffix) },
		func() error { return syncDir(s.dir) },
	} {
		if err := act(); err != nil {
			return errors.Join(err, os.Remove(name))
		}
	}
	s.bytes += int64(len(data))
	return nil
}

// lock takes the file, or says that it is taken. Where the file system has no locks,
// two processes may send the same batch: the ledger counts it once.
func lock(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return errTaken
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// claim is a file that this process has in hand.
type claim struct {
	ledger.Batch
	lost   int   // records in it that cannot be read, at least
	reason error // why, where any are lost

	spool *spool
	name  string
	size  int64
	file  *os.File // nil where it cannot be opened
}

// claim takes a file and reads it as far as it can be read; the error is errTaken.
func (s *spool) claim(name string) (*claim, error) {
	c := &claim{Batch: ledger.Batch{ID: batchID(name)}, spool: s, name: name}
	path := filepath.Join(s.dir, name)
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errTaken
	case err != nil:
		c.lost, c.reason = 1, err
		return c, nil
	}
	c.file = f
	if err := lock(f); err != nil {
		c.release()
		return nil, err
	}
	mine, err := f.Stat()
	here, gone := os.Stat(path)
	if err := errors.Join(err, gone); err != nil || !os.SameFile(mine, here) {
		c.release()
		return nil, errTaken // done, or renamed, in between
	}
	c.size = mine.Size()
	if c.size > maxFile {
		c.lost, c.reason = 1, fmt.Errorf("%d bytes are more than a batch has", c.size)
		return c, nil
	}
	data, err := io.ReadAll(f)
	c.Entries, c.lost, c.reason = decode(data)
	if err != nil { // what came before it may be whole
		c.lost, c.reason = c.lost+1, err
	}
	return c, nil
}

// release gives the file back.
func (c *claim) release() {
	if c.file != nil {
		c.file.Close()
	}
}

// done ends the file, once the ledger has what could be read of it: it goes, unless
// a human should see it.
func (c *claim) done() error {
	defer c.release()
	c.spool.bytes -= c.size
	path := filepath.Join(c.spool.dir, c.name)
	if c.lost == 0 || !c.spool.roomForBad() {
		return os.Remove(path)
	}
	return os.Rename(path, path+bad)
}

// keep puts what cannot be a record beside the files, as JSON.
func (s *spool) keep(r *usagev1.Record) error {
	if !s.roomForBad() {
		return fmt.Errorf("%d files are set aside already", maxBad)
	}
	data, err := json.Marshal(r) // protojson would refuse it as the wire format does
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, uuid.NewString()+".json"+bad), data, 0o600)
}

func (s *spool) roomForBad() bool {
	files, err := filepath.Glob(filepath.Join(s.dir, "*"+bad))
	return err == nil && len(files) < maxBad
}

func encode(entries []ledger.Entry) []byte {
	var b []byte
	for _, e := range entries {
		b = protowire.AppendBytes(b, e.Bytes)
	}
	return b
}

// decode reads the records that are whole, and counts those that are not: one whose
// bytes are none, and, at least one, what follows a length that cannot be. An end
// inside a record is io.ErrUnexpectedEOF.
func decode(data []byte) (entries []ledger.Entry, lost int, reason error) {
	fail := func(err error) {
		lost++
		if reason == nil {
			reason = fmt.Errorf("record %d: %w", len(entries)+lost-1, err)
		}
	}
	for len(data) > 0 {
		size, n := protowire.ConsumeVarint(data)
		switch {
		case n < 0:
			fail(protowire.ParseError(n))
			return entries, lost, reason
		case size > maxRecord:
			fail(fmt.Errorf("%d bytes are more than a record has", size))
			return entries, lost, reason
		case uint64(len(data)-n) < size:
			fail(io.ErrUnexpectedEOF)
			return entries, lost, reason
		}
		bytes, r := data[n:n+int(size)], &usagev1.Record{}
		if err := proto.Unmarshal(bytes, r); err != nil {
			fail(err)
		} else {
			entries = append(entries, ledger.Entry{Record: r, Bytes: bytes})
		}
		data = data[n+int(size):]
	}
	return entries, lost, reason
}
