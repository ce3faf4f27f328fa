package backup_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aisix/admin/backup"
	"aisix/admin/ledger"
	"aisix/admin/resource"
	"aisix/admin/store"
)

// made is a backup of that many rows, and of a day with as many fields.
func made(rows int) *backup.Contents {
	c := &backup.Contents{Made: now, Rows: &store.Copy{Epoch: "e", Revision: 9, Canary: "{}", Replaced: map[string]string{"d": "then"},
		Rows: map[resource.Kind]map[string]string{resource.APIKeys: {}}}, Days: []ledger.Day{{Name: today, Totals: map[string]int64{}}}}
	for i := range rows {
		c.Rows.Rows[resource.APIKeys][fmt.Sprint("id", i)] = "1 {\xff" + strings.Repeat("x", 200) + "}"
		c.Days[0].Totals[fmt.Sprintf("k%d\nm\nrequests", i)] = int64(i)
	}
	return c
}

func written(t testing.TB, c *backup.Contents, s *store.Sealer) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.Write(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFile(t *testing.T) {
	s := sealer(t, masterKey)
	for _, rows := range []int{1, 3000, 12000} { // one part, and several
		c := made(rows)
		got, err := backup.Read(bytes.NewReader(written(t, c, s)), s)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c, got); d != "" {
			t.Errorf("%d rows: %s", rows, d)
		}
	}
}

// A file that is cut, grown or changed anywhere is no backup.
func TestHarmedFiles(t *testing.T) {
	s := sealer(t, masterKey)
	whole := written(t, made(2), s)
	for i := range whole {
		if _, err := backup.Read(bytes.NewReader(whole[:i]), s); err == nil {
			t.Fatalf("cut at %d of %d it is taken", i, len(whole))
		}
		changed := bytes.Clone(whole)
		changed[i] ^= 1
		if _, err := backup.Read(bytes.NewReader(changed), s); err == nil {
			t.Fatalf("changed at %d of %d it is taken", i, len(whole))
		}
	}
	if _, err := backup.Read(bytes.NewReader(append(bytes.Clone(whole), 0)), s); err == nil {
		t.Error("with a byte more it is taken")
	}
	if _, err := backup.Read(strings.NewReader("aisix snapshot 1"), s); err == nil || !strings.Contains(err.Error(), "no backup of this version") {
		t.Errorf("another file: %v", err)
	}
}

func TestAnotherMasterKey(t *testing.T) {
	s, other := sealer(t, masterKey), sealer(t, otherKey)
	b := written(t, made(1), s)
	_, err := backup.Read(bytes.NewReader(b), other)
	if !errors.Is(err, store.ErrMasterKey) {
		t.Fatal(err)
	}
	for _, part := range []string{s.KeyID(), other.KeyID(), "AISIX_SECRETS__MASTER_KEY_FILE", "secrets.previous_master_key_file"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if _, err := backup.Read(bytes.NewReader(b), sealer(t, otherKey, masterKey)); err != nil {
		t.Errorf("while the master key is changed: %v", err)
	}
}

func TestCreate(t *testing.T) {
	s := sealer(t, masterKey)
	dir := t.TempDir()
	path := filepath.Join(dir, "b")
	size, err := made(10).Create(path, s)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 || info.Size() != size {
		t.Error(info, err)
	}
	before, _ := os.ReadFile(path)
	if bytes.Contains(before, []byte("id1")) {
		t.Error("it is readable")
	}
	if _, err := made(20).Create(path, s); err == nil || !strings.Contains(err.Error(), "name another file") {
		t.Errorf("over another file: %v", err)
	}
	after, _ := os.ReadFile(path)
	if left, _ := os.ReadDir(dir); !bytes.Equal(before, after) || len(left) != 1 {
		t.Errorf("it was changed, or left behind: %v", left)
	}
	if _, err := made(1).Create(filepath.Join(dir, "no", "folder"), s); err == nil {
		t.Error("into no folder")
	}
}

func FuzzRead(f *testing.F) {
	s := sealer(f, masterKey)
	whole := written(f, made(2), s)
	for _, seed := range [][]byte{nil, whole, whole[:40], []byte("aisix backup 1\n0123456789abcdef\x00\x00\x00\x01x")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := backup.Read(bytes.NewReader(b), s); err == nil && !bytes.Equal(b, whole) {
			t.Errorf("taken: %v", c)
		}
	})
}
