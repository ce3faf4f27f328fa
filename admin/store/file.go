package store

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"aisix/admin/resource"
)

// The snapshot file holds what a watch has read from Redis, rows as they stand there
// (secrets are sealed in them too), so that extproc can start while Redis is away:
//
//	magic, which names the version · the file's id, 16 random bytes · chunks
//	chunk: length, 4 bytes, big-endian · key id, 16 bytes · nonce, 12 bytes · AES-256-GCM
//
// A chunk is sealed for its file and its place there: what is changed, moved or of
// another file does not open. The first ones together are everything at one revision,
// written to a new file that takes the old one's place; each that is appended later is
// what changed since. Where the end was cut off the file is what it was before; and who
// can cut it off, or put an older file in its place, can take it back no further than
// that.
const (
	fileMagic  = "aisix snapshot 1"
	fileIDSize = 16
	keyIDSize  = 16
	nonceSize  = 12

	maxFile    = 4 << 30
	wholeChunk = 1 << 20 // about how much goes into a chunk of everything
)

// state is all rows at one time, kind -> id -> row JSON.
type state struct {
	at   head
	time time.Time // when it was read
	rows map[resource.Kind]map[string]string
}

// change is a row that was written, or deleted: then its body is "".
type change struct {
	kind     resource.Kind
	id, body string
}

func (s *state) apply(changes []change) {
	for _, c := range changes {
		if c.body == "" {
			delete(s.rows[c.kind], c.id)
			continue
		}
		if s.rows[c.kind] == nil {
			s.rows[c.kind] = map[string]string{}
		}
		s.rows[c.kind][c.id] = c.body
	}
}

// chunk is the content of one chunk: the state after it is at that head, unless more
// of it follows.
type chunk struct {
	more    bool
	at      head
	time    time.Time
	changes []change
}

func (c *chunk) encode() []byte {
	b := []byte{0}
	if c.more {
		b[0] = 1
	}
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	text(c.at.epoch)
	b = binary.AppendUvarint(b, uint64(c.at.revision))
	b = binary.AppendVarint(b, c.time.UnixMilli())
	for _, x := range c.changes {
		text(string(x.kind))
		text(x.id)
		text(x.body)
	}
	return b
}

var errChunk = errors.New("a chunk is malformed")

func parseChunk(b []byte) (*chunk, error) {
	if len(b) == 0 || b[0] > 1 {
		return nil, errChunk
	}
	r := chunkReader{rest: string(b[1:])} // once: the rows are parts of it
	c := &chunk{more: b[0] == 1}
	c.at = head{r.text(), int64(r.number())}
	ms := r.number()
	c.time = time.UnixMilli(int64(ms>>1) ^ -int64(ms&1)).UTC()
	for r.rest != "" {
		c.changes = append(c.changes, change{resource.Kind(r.text()), r.text(), r.text()})
	}
	if r.broken || c.at.epoch == "" || c.at.revision < 0 {
		return nil, errChunk
	}
	return c, nil
}

// chunkReader takes a chunk's content apart. After what is broken nothing is left.
type chunkReader struct {
	rest   string
	broken bool
}

func (r *chunkReader) number() (n uint64) {
	for i := range min(len(r.rest), binary.MaxVarintLen64) {
		c := r.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.rest = r.rest[i+1:]
			return n
		}
	}
	r.rest, r.broken = "", true
	return 0
}

func (r *chunkReader) text() (s string) {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.rest, r.broken = "", true
		return ""
	}
	s, r.rest = r.rest[:n], r.rest[n:]
	return s
}

// sealChunk is a chunk as it stands in a file.
func (s *Sealer) sealChunk(fileID []byte, number int, c *chunk) ([]byte, error) {
	return s.SealPart(chunkName(fileID, number), c.encode())
}

func chunkName(fileID []byte, number int) string {
	return "snapshot file " + hex.EncodeToString(fileID) + " chunk " + strconv.Itoa(number)
}

// nextChunk opens the first chunk of b, nil where b has no whole one.
func (s *Sealer) nextChunk(fileID []byte, number int, b []byte) (c *chunk, rest []byte, err error) {
	plaintext, rest, err := s.OpenPart(chunkName(fileID, number), b)
	if plaintext == nil || err != nil {
		return nil, nil, err
	}
	c, err = parseChunk(plaintext)
	return c, rest, err
}

// SealPart is a part of a file: its length, the key's id, a nonce and what was sealed.
// The part opens under that name only.
func (s *Sealer) SealPart(name string, plaintext []byte) ([]byte, error) {
	b, err := s.seal(name, plaintext)
	if err != nil {
		return nil, err
	}
	out := binary.BigEndian.AppendUint32(nil, uint32(keyIDSize+nonceSize+len(b.Ciphertext)))
	return append(append(append(out, b.KeyID...), b.Nonce...), b.Ciphertext...), nil
}

// PartKey is the id of the key under which the first part of b is sealed, "" where b has
// no whole one.
func PartKey(b []byte) string {
	if len(b) < 4+keyIDSize {
		return ""
	}
	return string(b[4 : 4+keyIDSize])
}

// OpenPart opens the first part of b, nil where b has no whole one.
func (s *Sealer) OpenPart(name string, b []byte) (plaintext, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, nil
	}
	n := binary.BigEndian.Uint32(b)
	b = b[4:]
	if n == 0 || uint64(n) > uint64(len(b)) { // zeros are what a power failure can leave of an append
		return nil, nil, nil
	}
	if n < keyIDSize+nonceSize {
		return nil, nil, errChunk
	}
	plaintext, err = s.open(name, &sealed{KeyID: string(b[:keyIDSize]), Nonce: b[keyIDSize : keyIDSize+nonceSize], Ciphertext: b[keyIDSize+nonceSize : n]})
	if err == nil && plaintext == nil {
		plaintext = []byte{} // an empty part is a part
	}
	return plaintext, b[n:], err
}

// parseFile reads a snapshot file's content.
func parseFile(b []byte, sealer *Sealer) (*state, error) {
	if !bytes.HasPrefix(b, []byte(fileMagic)) {
		return nil, errors.New("it is no snapshot file of this version")
	}
	b = b[len(fileMagic):]
	if len(b) < fileIDSize {
		return nil, errors.New("it is cut off")
	}
	fileID, b := b[:fileIDSize], b[fileIDSize:]
	s := &state{rows: map[resource.Kind]map[string]string{}}
	whole := false
	for number := 0; ; number++ {
		c, rest, err := sealer.nextChunk(fileID, number, b)
		if err != nil {
			return nil, fmt.Errorf("chunk %d: %w", number, err)
		}
		if c == nil {
			break
		}
		s.apply(c.changes)
		s.at, s.time, whole, b = c.at, c.time, !c.more, rest
	}
	if !whole {
		return nil, errors.New("it is cut off")
	}
	return s, nil
}

func readFile(path string, sealer *Sealer) (*state, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, errors.New("it is no snapshot file")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseFile(b, sealer)
}
