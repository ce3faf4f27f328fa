package backup

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"aisix/admin/ledger"
	"aisix/admin/resource"
	"aisix/admin/store"
)

// The file:
//
//	magic, which names the version · the backup's id, 16 random bytes · parts, as store.SealPart makes them
//
// A part is sealed for its backup and its place there, and is the JSON of struct part.
// The last one says how much there is, so that a file which was cut off is noticed.
const (
	magic    = "aisix backup 1\n"
	idSize   = 16
	partSize = 1 << 20 // about how much goes into one
)

type part struct {
	Head *head  `json:"head,omitempty"`
	Rows []row  `json:"rows,omitempty"`
	Days []days `json:"days,omitempty"`
	End  *end   `json:"end,omitempty"`
}

type head struct {
	Made     time.Time         `json:"made"`
	Epoch    string            `json:"epoch"`
	Revision int64             `json:"revision"`
	Canary   string            `json:"canary"`
	Replaced map[string]string `json:"replaced,omitempty"`
}

type row struct {
	Kind   resource.Kind `json:"kind"`
	ID     string        `json:"id"`
	Stored []byte        `json:"stored"` // bytes: what somebody else wrote need not be text
}

// days is some totals of a day.
type days struct {
	Day    string           `json:"day"`
	Totals map[string]int64 `json:"totals"`
}

type end struct {
	Rows   int `json:"rows"`
	Totals int `json:"totals"`
}

// Write writes a backup under a new id.
func (c *Contents) Write(w io.Writer, sealer *store.Sealer) error {
	id := make([]byte, idSize)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	c.ID = hex.EncodeToString(id)
	if _, err := w.Write(append([]byte(magic), id...)); err != nil {
		return err
	}
	number := 0
	write := func(p part) error {
		plaintext, err := json.Marshal(p)
		if err != nil {
			return err
		}
		b, err := sealer.SealPart(partName(c.ID, number), plaintext)
		if err != nil {
			return err
		}
		number++
		_, err = w.Write(b)
		return err
	}
	h := head{c.Made, c.Rows.Epoch, c.Rows.Revision, c.Rows.Canary, c.Rows.Replaced}
	if err := write(part{Head: &h}); err != nil {
		return err
	}
	var e end
	var p part
	held := 0
	flush := func(size int) error {
		if held += size; held < partSize {
			return nil
		}
		full := p
		p, held = part{}, 0
		return write(full)
	}
	for _, kind := range resource.Kinds {
		for _, id := range slices.Sorted(maps.Keys(c.Rows.Rows[kind])) {
			stored := c.Rows.Rows[kind][id]
			p.Rows = append(p.Rows, row{kind, id, []byte(stored)})
			e.Rows++
			if err := flush(len(id) + len(stored)); err != nil {
				return err
			}
		}
	}
	for _, d := range c.Days {
		for fields := range slices.Chunk(slices.Sorted(maps.Keys(d.Totals)), 1000) {
			some, size := days{d.Name, map[string]int64{}}, 0
			for _, f := range fields {
				some.Totals[f] = d.Totals[f]
				size += len(f) + 8
			}
			p.Days = append(p.Days, some)
			e.Totals += len(fields)
			if err := flush(size); err != nil {
				return err
			}
		}
	}
	p.End = &e
	return write(p)
}

func partName(id string, number int) string { return "backup " + id + " part " + strconv.Itoa(number) }

// Read reads a backup, and is an error unless all of it is there as it was written.
func Read(r io.Reader, sealer *store.Sealer) (*Contents, error) {
	b, err := readAll(r)
	if err != nil {
		return nil, err
	}
	b, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok {
		return nil, errors.New("it is no backup of this version")
	}
	if len(b) < idSize {
		return nil, errCut
	}
	c := &Contents{ID: hex.EncodeToString(b[:idSize]), Rows: &store.Copy{Rows: map[resource.Kind]map[string]string{}}}
	b = b[idSize:]
	var counted end
	for number := 0; ; number++ {
		plaintext, rest, err := sealer.OpenPart(partName(c.ID, number), b)
		if errors.Is(err, store.ErrMasterKey) {
			if key := store.PartKey(b); number == 0 && key != sealer.KeyID() {
				return nil, fmt.Errorf("it was made under master key %q, and the configured one is %q: name the master key of then in secrets.master_key_file (AISIX_SECRETS__MASTER_KEY_FILE), or in secrets.previous_master_key_file beside a new one: %w", key, sealer.KeyID(), err)
			}
			return nil, errAltered
		}
		if err != nil {
			return nil, errAltered
		}
		if plaintext == nil {
			return nil, errCut
		}
		var p part
		if err := json.Unmarshal(plaintext, &p); err != nil || (p.Head != nil) != (number == 0) {
			return nil, errAltered
		}
		c.take(p, &counted)
		b = rest
		if p.End != nil {
			if *p.End != counted || len(b) > 0 {
				return nil, errAltered
			}
			return c, nil
		}
	}
}

var (
	errCut     = errors.New("it is cut off: it does not hold all that was written")
	errAltered = errors.New("it was altered since it was written: it does not open with its master key")
)

func (c *Contents) take(p part, counted *end) {
	if h := p.Head; h != nil {
		c.Made, c.Rows.Epoch, c.Rows.Revision, c.Rows.Canary, c.Rows.Replaced = h.Made, h.Epoch, h.Revision, h.Canary, h.Replaced
	}
	for _, r := range p.Rows {
		if c.Rows.Rows[r.Kind] == nil {
			c.Rows.Rows[r.Kind] = map[string]string{}
		}
		c.Rows.Rows[r.Kind][r.ID] = string(r.Stored)
		counted.Rows++
	}
	for _, d := range p.Days {
		if len(c.Days) == 0 || c.Days[len(c.Days)-1].Name != d.Day {
			c.Days = append(c.Days, ledger.Day{Name: d.Day, Totals: map[string]int64{}})
		}
		maps.Copy(c.Days[len(c.Days)-1].Totals, d.Totals)
		counted.Totals += len(d.Totals)
	}
}

// Create writes a backup to a new file of mode 0600, whole or not at all, and reads it
// again before it has its name.
func (c *Contents) Create(path string, sealer *store.Sealer) (size int64, err error) {
	if _, err := os.Lstat(path); err == nil {
		return 0, fmt.Errorf("%s is there already: name another file", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := c.Write(f, sealer); err != nil {
		return 0, err
	}
	if size, err = f.Seek(0, io.SeekCurrent); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	if _, err := Read(f, sealer); err != nil {
		return 0, fmt.Errorf("what was written cannot be read: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil { // unlike a rename it replaces nothing
		return 0, err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return 0, err
	}
	defer d.Close()
	return size, d.Sync()
}
