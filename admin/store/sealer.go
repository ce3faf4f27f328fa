package store

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// MasterKeySize is the length of a master key in bytes: AES-256.
const MasterKeySize = 32

// ErrMasterKey is a secret that none of the sealer's keys opens.
var ErrMasterKey = errors.New("sealed under another master key: give admin and extproc the master key that this store was written with")

// Sealer encrypts secrets at rest with AES-256-GCM. It seals under its first key
// and opens under any.
type Sealer struct {
	keys []sealingKey
}

type sealingKey struct {
	id   string
	aead cipher.AEAD
}

// sealed is a secret at rest. The bytes are base64 in JSON.
type sealed struct {
	KeyID      string `json:"key_id"`
	Nonce      []byte `json:"nonce"`
	Ciphertext []byte `json:"ciphertext"`
}

// NewSealer makes a sealer of a master key of 32 bytes; previous keys only open,
// while a rotation of the master key lasts.
func NewSealer(masterKey []byte, previous ...[]byte) (*Sealer, error) {
	s := &Sealer{}
	for _, key := range append([][]byte{masterKey}, previous...) {
		if len(key) != MasterKeySize {
			return nil, fmt.Errorf("a master key is %d bytes, not %d", MasterKeySize, len(key))
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		id := sha256.Sum256(append([]byte("aisix master key id\x00"), key...))
		s.keys = append(s.keys, sealingKey{id: hex.EncodeToString(id[:8]), aead: aead})
	}
	return s, nil
}

// KeyID names the key that seal uses, and tells nothing of it.
func (s *Sealer) KeyID() string { return s.keys[0].id }

// current reports whether b was sealed under the key that seal uses.
func (s *Sealer) current(b *sealed) bool { return b.KeyID == s.keys[0].id }

// seal encrypts plaintext for one place: what is sealed for one name does not open
// under another.
func (s *Sealer) seal(name string, plaintext []byte) (*sealed, error) {
	k := s.keys[0]
	nonce := make([]byte, k.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	return &sealed{KeyID: k.id, Nonce: nonce, Ciphertext: k.aead.Seal(nil, nonce, plaintext, []byte(name))}, nil
}

// open is ErrMasterKey when no key fits.
func (s *Sealer) open(name string, b *sealed) ([]byte, error) {
	for _, k := range s.keys {
		if k.id != b.KeyID || len(b.Nonce) != k.aead.NonceSize() {
			continue
		}
		plaintext, err := k.aead.Open(nil, b.Nonce, b.Ciphertext, []byte(name))
		if err != nil {
			return nil, fmt.Errorf("the secret of %s was changed at rest: %w", name, ErrMasterKey)
		}
		return plaintext, nil
	}
	return nil, ErrMasterKey
}

// LoadSealer makes a sealer of configured master keys: text, as an environment
// variable holds it, wins over the file at path; previousPath, if there is one, is a
// file with the key that was in use before. All are base64 or hex of 32 bytes.
func LoadSealer(text, path, previousPath string) (*Sealer, error) {
	masterKey, err := loadMasterKey(text, path)
	if err != nil {
		return nil, err
	}
	if previousPath == "" {
		return NewSealer(masterKey)
	}
	previous, err := loadMasterKey("", previousPath)
	if err != nil {
		return nil, err
	}
	return NewSealer(masterKey, previous)
}

func loadMasterKey(text, path string) ([]byte, error) {
	const remedy = ": make one with `admin -create-master-key <file>` and name the file in secrets.master_key_file (AISIX_SECRETS__MASTER_KEY_FILE), the same for admin and extproc"
	source := "secrets.master_key"
	if text == "" {
		if path == "" {
			return nil, errors.New("no master key is configured" + remedy)
		}
		b, err := readKeyFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read the master key: %w%s", err, remedy)
		}
		if err != nil {
			return nil, fmt.Errorf("read the master key: %w", err)
		}
		text, source = b, "the master key in "+path
	}
	text = strings.TrimSpace(text)
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawURLEncoding.DecodeString} {
		if key, err := decode(text); err == nil && len(key) == MasterKeySize {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%s is not base64 or hex of %d bytes%s", source, MasterKeySize, remedy)
}

// CreateMasterKey writes a new random master key to path with mode 0600, complete
// or not at all. A file that is there is left as it is.
func CreateMasterKey(path string) error { return CreateKey(path) }

// CreateKey does the same for any key that is 32 random bytes as base64 to us.
func CreateKey(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	key := make([]byte, MasterKeySize)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// Link does not overwrite: of two first starts one key wins for both.
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func (b *sealed) text() string {
	t, _ := json.Marshal(b) // strings and bytes only: it can't fail
	return string(t)
}

func parseSealed(text string) (*sealed, error) {
	b := &sealed{}
	if err := json.Unmarshal([]byte(text), b); err != nil {
		return nil, errors.New("no sealed secret")
	}
	return b, nil
}
