package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestSecretsAreMadeOnce(t *testing.T) {
	folder := t.TempDir()
	make := func() {
		t.Helper()
		if err := run(t.Context(), []string{"-create-master-key", filepath.Join(folder, "master.key"), "-create-secrets", folder}, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	files := func() (all map[string]string) {
		all = map[string]string{}
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			info, _ := d.Info()
			all[strings.TrimPrefix(path, folder+"/")+fmt.Sprintf(" %o", info.Mode())] = string(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	make()
	first := files()
	for _, want := range []string{"master.key 600", "admin/admin.key 600", "admin/redis.password 400", "extproc/redis.password 400", "valkey/operator.password 440", "valkey/users.acl 640"} {
		if first[want] == "" {
			t.Errorf("no %s", want)
		}
	}
	if len(first) != 6 {
		t.Errorf("%d files: %v", len(first), first)
	}
	seen := map[string]bool{}
	for name, content := range first {
		if seen[content] {
			t.Errorf("%s: the same secret twice", name)
		}
		if seen[content] = true; !strings.Contains(name, "acl") && strings.Contains(first["valkey/users.acl 640"], strings.TrimSpace(content)) {
			t.Errorf("%s stands in the file of users", name)
		}
	}
	make()
	for name, content := range files() {
		if first[name] != content {
			t.Errorf("%s was made anew", name)
		}
	}

	// One password is changed: its user's line alone is.
	os.Remove(filepath.Join(folder, "extproc/redis.password"))
	make()
	second := files()
	before, after := strings.Split(first["valkey/users.acl 640"], "\n"), strings.Split(second["valkey/users.acl 640"], "\n")
	for i := range before {
		if changed := before[i] != after[i]; changed != strings.HasPrefix(before[i], "user extproc ") {
			t.Errorf("%q became %q", before[i], after[i])
		}
	}

	// A file that a full disk left empty is no password.
	if err := os.Truncate(filepath.Join(folder, "admin/redis.password"), 0); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"-create-secrets", folder}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "delete it") {
		t.Error(err)
	}
}

// The page gives the same rights to whoever makes the users by hand.
func TestUsersAreThoseOfThePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, rule := range regexp.MustCompile(`ACL SETUSER (\w+) on >PASSWORD (.*)`).FindAllStringSubmatch(string(page), -1) {
		said[rule[1]] = rule[2]
	}
	for _, u := range redisUsers {
		if rights, ok := said[u.name]; ok && rights != u.rights || !ok && (u.name == "extproc" || u.name == "admin") {
			t.Errorf("%s: %q, and the page has %q", u.name, u.rights, rights)
		}
	}
}
