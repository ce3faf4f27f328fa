package store

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// keepEvery is the shortest time between two writes of the snapshot file.
	keepEvery = 2 * time.Second
	// maxPending bounds the changes that wait for the disk, in bytes.
	maxPending = 32 << 20
	// keepAgain is how soon what could not be written is tried again.
	keepAgain = time.Minute
	// compactAbove is how long a file may be appended to, in bytes, however short it began.
	compactAbove = 1 << 20
)

// keeper writes the snapshot file behind a watch's back: a slow disk must not hold up
// what is in force. A nil keeper keeps nothing.
type keeper struct {
	path   string
	store  *Store
	wake   chan struct{}
	wanted atomic.Int64 // Unix nanoseconds from when on everything is needed anew, as the file can't be built upon; 0: it can

	mutex   sync.Mutex
	all     *state   // to be written anew; the changes come after it
	changes []change // to be appended
	at      head     // after the changes
	pending int      // bytes of changes

	// of the goroutine that writes
	file     os.FileInfo // as this process wrote it, nil before
	fileID   []byte
	chunks   int
	began    int64 // its size when it was written whole
	appended int64
	failing  bool
}

// newKeeper makes a keeper that wants everything first: it appends to no file but one
// that it has written itself.
func newKeeper(path string, s *Store) *keeper {
	k := &keeper{path: path, store: s, wake: make(chan struct{}, 1)}
	k.want(0)
	return k
}

// start writes until stop is called, which writes what is left.
func (k *keeper) start() (stop func()) {
	leftovers, _ := filepath.Glob(k.temporary()) // of processes that were killed
	for _, path := range leftovers {
		os.Remove(path)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.run(ctx)
	}()
	return func() { cancel(); <-done }
}

func (k *keeper) temporary() string {
	return filepath.Join(filepath.Dir(k.path), "."+filepath.Base(k.path)+"-*")
}

func (k *keeper) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			k.write()
			return
		case <-k.wake:
		}
		k.write()
		select {
		case <-ctx.Done():
		case <-time.After(keepEvery):
		}
	}
}

// wants reports whether everything should be read and given to whole.
func (k *keeper) wants() bool {
	if k == nil {
		return false
	}
	from := k.wanted.Load()
	return from != 0 && time.Now().UnixNano() >= from
}

func (k *keeper) want(in time.Duration) { k.wanted.Store(time.Now().Add(in).UnixNano()) }

// whole has everything written anew. all is the keeper's from then on.
func (k *keeper) whole(all *state) {
	if k == nil || all.at.epoch == "" { // nothing was ever written: there is nothing to keep
		return
	}
	k.mutex.Lock()
	k.all, k.changes, k.pending, k.at = all, nil, 0, all.at
	k.mutex.Unlock()
	k.wanted.Store(0)
	k.signal()
}

// change has changes appended, after which the state is at that head.
func (k *keeper) change(at head, changes ...change) {
	if k == nil || k.wanted.Load() != 0 {
		return
	}
	k.mutex.Lock()
	k.changes, k.at = append(k.changes, changes...), at
	for _, c := range changes {
		k.pending += len(c.id) + len(c.body)
	}
	if k.pending > maxPending {
		k.changes, k.pending = nil, 0
		k.want(0)
	}
	k.mutex.Unlock()
	k.signal()
}

func (k *keeper) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// write brings the file up to date.
func (k *keeper) write() {
	k.mutex.Lock()
	all, changes, at := k.all, k.changes, k.at
	k.all, k.changes, k.pending = nil, nil, 0
	k.mutex.Unlock()
	if all == nil && (len(changes) == 0 || k.wanted.Load() != 0) {
		return
	}
	err := k.bring(all, changes, at)
	switch {
	case err != nil && !k.failing:
		k.store.log.Error("the snapshot file can't be written: extproc could not start from it while Redis is away", "file", k.path, "error", err)
	case err == nil && k.failing:
		k.store.log.Info("the snapshot file is written again", "file", k.path)
	}
	k.failing = err != nil
	if err != nil {
		k.file = nil
		k.want(keepAgain)
	}
}

func (k *keeper) bring(all *state, changes []change, at head) error {
	now := time.Now()
	if all == nil && k.appended <= max(k.began, compactAbove) {
		return k.append(&chunk{at: at, time: now, changes: changes})
	}
	if all == nil { // its changes have outgrown it
		info, err := os.Stat(k.path)
		if err != nil || !os.SameFile(info, k.file) {
			return errors.Join(err, errShared)
		}
		if all, err = readFile(k.path, k.store.sealer); err != nil {
			return err
		}
	}
	if len(changes) > 0 {
		all.apply(changes)
		all.at, all.time = at, now
	}
	return k.create(all)
}

var errShared = errors.New("somebody else has written it: every extproc needs a file of its own")

// append adds a chunk to the file that this process has written.
func (k *keeper) append(c *chunk) error {
	if k.file == nil {
		return errors.New("it was not written whole before")
	}
	b, err := k.store.sealer.sealChunk(k.fileID, k.chunks, c)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(k.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !os.SameFile(info, k.file) || info.Size() != k.began+k.appended {
		return errors.Join(err, errShared)
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	k.chunks++
	k.appended += int64(len(b))
	return f.Sync()
}

// create writes everything to a new file, which takes the place of the old one when
// it is on the disk: mode 0600, whole or not at all.
func (k *keeper) create(all *state) (err error) {
	dir, pattern := filepath.Split(k.temporary())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, pattern) // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // in vain once it is renamed
	fileID := make([]byte, fileIDSize)
	if _, err := rand.Read(fileID); err != nil {
		return err
	}
	size, chunks, err := k.fill(f, fileID, all)
	info, statErr := f.Stat()
	if err := errors.Join(err, statErr, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), k.path); err != nil {
		return err
	}
	k.file, k.fileID, k.chunks, k.began, k.appended = info, fileID, chunks, size, 0
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// fill writes a whole file.
func (k *keeper) fill(w io.Writer, fileID []byte, all *state) (size int64, chunks int, err error) {
	write := func(b []byte) {
		if err == nil {
			_, err = w.Write(b)
			size += int64(len(b))
		}
	}
	write(append([]byte(fileMagic), fileID...))
	c, held := &chunk{more: true, at: all.at, time: all.time}, 0
	flush := func() {
		var b []byte
		if err == nil {
			b, err = k.store.sealer.sealChunk(fileID, chunks, c)
		}
		write(b)
		chunks++
		c.changes, held = c.changes[:0], 0
	}
	for kind, rows := range all.rows {
		for id, body := range rows {
			if body == "" { // corrupted: not even a row
				continue
			}
			c.changes = append(c.changes, change{kind, id, body})
			if held += len(id) + len(body); held > wholeChunk {
				flush()
			}
		}
	}
	c.more = false
	flush()
	return size, chunks, err
}
