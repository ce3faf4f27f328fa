package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"strings"
)

// maxSecretFile is more than any key, password or URL has.
const maxSecretFile = 64 << 10

// secretFile is the secret in a file that key names, without the line's end behind it. The error names
// both, and never what is in it.
func secretFile(key, path string) (string, error) {
	content, err := readFile(key, path)
	if errors.Is(err, fs.ErrPermission) {
		return "", fmt.Errorf("%w: this process runs as user %d and group %d", err, os.Getuid(), os.Getgid())
	}
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(content), "\r\n")
	switch {
	case text == "":
		return "", fmt.Errorf("%s: %s is empty", key, path)
	case len(text) > maxSecretFile, strings.ContainsAny(text, "\n\x00"):
		return "", fmt.Errorf("%s: %s holds more than one line", key, path)
	}
	return text, nil
}

// warnOfMode says so where others than the owner and its group can read a secret: where secrets are
// mounted into a container that may be meant, so that it stops nothing.
func warnOfMode(log *slog.Logger, key, path string) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || runtime.GOOS == "windows" {
		return
	}
	if mode := info.Mode().Perm(); mode&0o006 != 0 {
		log.Warn("everybody on this machine can read or change a secret: chmod 600 it", "key", key, "file", path, "mode", fmt.Sprintf("%04o", mode))
	}
}

// Secret is the admin key, of the file where one is named: it takes the place of the sample key.
func (a Admin) Secret(log *slog.Logger) (Secret, error) {
	if a.KeyFile == "" {
		return a.Key, nil
	}
	text, err := secretFile("admin.key_file", a.KeyFile)
	if err != nil {
		return "", err
	}
	a.Key = Secret(text)
	if err := a.key(); err != nil {
		return "", fmt.Errorf("admin.key_file: what is in %s %w", a.KeyFile, err)
	}
	warnOfMode(log, "admin.key_file", a.KeyFile)
	return a.Key, nil
}

// url is where Redis is.
func (r Redis) url() (key, text string, err error) {
	if r.URLFile == "" {
		return "redis.url", r.URL, nil
	}
	text, err = secretFile("redis.url_file", r.URLFile)
	if err == nil && redisURL(text) != nil {
		err = fmt.Errorf("redis.url_file: what is in %s %w", r.URLFile, redisURL(text))
	}
	return "redis.url_file", text, err
}

// password is Redis's, read anew for each connection: it may change.
func (r Redis) password() (string, error) {
	if r.PasswordFile == "" {
		return r.Password.Reveal(), nil
	}
	return secretFile("redis.password_file", r.PasswordFile)
}
