package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"aisix/admin/store"
)

// redisUsers are the users of a Redis of this gateway, and what each may do. Those with a file
// have a password in it; probe is the health check's and needs none. docs/operations.md says the
// same of extproc and admin, and a test holds them together.
var redisUsers = []struct{ name, passwordFile, rights string }{
	{"extproc", "extproc/redis.password", "resetchannels &{aisix:config}:changes %R~{aisix:config}:* ~{aisix:config}:witnesses ~aisix:limit:* ~{aisix:usage}:* ~{aisix:targets}:* +@all -@admin -@dangerous"},
	{"admin", "admin/redis.password", "resetchannels &{aisix:config}:changes ~{aisix:config}:* ~{aisix:usage}:* ~{aisix:targets}:* +@all -@admin -@dangerous"},
	{"operator", "valkey/operator.password", "allchannels allkeys +@all"},
	{"probe", "", "nopass resetchannels resetkeys -@all +ping"},
}

// createSecrets makes what nobody should have to think of, each file unless it is there: the
// passwords of Redis's users, and an admin key. Redis's own file of users (aclfile) follows from
// the passwords and is written whenever it says something else: whoever deletes a password
// and runs this again has a new one.
//
//	<folder>/admin/admin.key          for admin.key_file
//	<folder>/admin/redis.password     user admin
//	<folder>/extproc/redis.password   user extproc
//	<folder>/valkey/operator.password user operator, for people: all rights
//	<folder>/valkey/users.acl         hashes, for the server's group to read
//
// Each subfolder can be a volume of its own, for its one reader.
func createSecrets(folder string) error {
	if err := store.CreateKey(filepath.Join(folder, "admin/admin.key")); err != nil {
		return err
	}
	users := "user default off\n"
	for _, u := range redisUsers {
		password := ""
		if u.passwordFile != "" {
			mode := os.FileMode(0o400)
			if u.name == "operator" {
				mode = 0o440 // people read it in the server's container, whose user is of the file's group
			}
			secret, err := createSecret(filepath.Join(folder, u.passwordFile), mode)
			if err != nil {
				return err
			}
			hash := sha256.Sum256([]byte(secret))
			password = "#" + hex.EncodeToString(hash[:]) + " "
		}
		users += "user " + u.name + " on " + password + u.rights + "\n"
	}
	path := filepath.Join(folder, "valkey/users.acl")
	if old, err := os.ReadFile(path); err == nil && string(old) == users {
		return nil
	}
	return place(path, users, 0o640, os.Rename)
}

// createSecret is the secret in a file, a new one where the file is not there.
func createSecret(path string, mode os.FileMode) (string, error) {
	old, err := os.ReadFile(path)
	if secret := strings.TrimSpace(string(old)); secret != "" {
		return secret, nil
	}
	if err == nil {
		return "", fmt.Errorf("%s: empty; delete it to have a new one made", path)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	secret := rand.Text() + rand.Text()[:6] // 160 bits
	return secret, place(path, secret+"\n", mode, os.Link)
}

// place writes a file whole or not at all; put gives it its name.
func place(path, content string, mode os.FileMode, put func(from, to string) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(content)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return put(f.Name(), path)
}
