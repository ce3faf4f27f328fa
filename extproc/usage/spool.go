package usage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protodelim"

	"aisix/admin/ledger"
	usagev1 "aisix/proto/aisix/v1"
)

// spool is a directory of batches, one file each: "<batch id>.usage" holds the
// records' bytes, each after its length (protobuf's delimited form). A file is
// whole or not there: it is written under another name, synced and renamed.
type spool struct {
	dir   string
	bytes int64
	limit int64
	files map[string]int64 // size by batch id
	order []string         // batch ids, oldest first
}

const (
	suffix = ".usage"
	// maxRecord bounds what is read as one record.
	maxRecord = 1 << 20
)

func openSpool(dir string, limit int64) (*spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &spool{dir: dir, limit: limit, files: map[string]int64{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), suffix)
		if _, err := uuid.Parse(id); !ok || err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		s.add(id, info.Size())
	}
	return s, nil
}

func (s *spool) path(id string) string { return filepath.Join(s.dir, id+suffix) }

func (s *spool) add(id string, size int64) {
	s.files[id] = size
	s.order = append(s.order, id)
	s.bytes += size
}

// ids are the batches that wait, oldest first.
func (s *spool) ids() []string { return append([]string(nil), s.order...) }

var errSpoolFull = errors.New("the spool is full")

func (s *spool) save(b ledger.Batch) error {
	data, err := encode(b.Records)
	if err != nil {
		return err
	}
	if s.bytes+int64(len(data)) > s.limit {
		return errSpoolFull
	}
	f, err := os.CreateTemp(s.dir, "new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path(b.ID))
	}
	if err != nil {
		return err
	}
	s.add(b.ID, int64(len(data)))
	return nil
}

func (s *spool) load(id string) (ledger.Batch, error) {
	data, err := os.ReadFile(s.path(id))
	if err != nil {
		return ledger.Batch{}, err
	}
	records, err := decode(data)
	return ledger.Batch{ID: id, Records: records}, err
}

func (s *spool) remove(id string) error {
	s.forget(id)
	return os.Remove(s.path(id))
}

// setAside keeps a file that cannot be read for a human.
func (s *spool) setAside(id string) {
	s.forget(id)
	_ = os.Rename(s.path(id), s.path(id)+".bad")
}

func (s *spool) forget(id string) {
	s.bytes -= s.files[id]
	delete(s.files, id)
	for i, o := range s.order {
		if o == id {
			s.order = append(s.order[:i:i], s.order[i+1:]...)
			return
		}
	}
}

func encode(records []*usagev1.Record) ([]byte, error) {
	var b bytes.Buffer
	for _, r := range records {
		if _, err := protodelim.MarshalTo(&b, r); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// decode reads whole records; an end inside one is io.ErrUnexpectedEOF.
func decode(data []byte) ([]*usagev1.Record, error) {
	in := bytes.NewReader(data)
	var records []*usagev1.Record
	for {
		r := &usagev1.Record{}
		switch err := (protodelim.UnmarshalOptions{MaxSize: maxRecord}).UnmarshalFrom(in, r); {
		case errors.Is(err, io.EOF) && in.Len() == 0 && !errors.Is(err, io.ErrUnexpectedEOF):
			return records, nil
		case err != nil:
			return nil, fmt.Errorf("record %d: %w", len(records), err)
		}
		records = append(records, r)
	}
}
