package config

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// file is a file with this content, which only its owner may read.
func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSecretsFromFiles(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	key := file(t, "sixteen letters!\r\n")
	for name, env := range map[string][]string{
		"the file alone":      nil,
		"beside the sample":   {"AISIX_ADMIN__KEY=" + SampleAdminKey},
		"and not on loopback": {"AISIX_ADMIN__KEY=" + SampleAdminKey, "AISIX_ADMIN__ADDRESS=0.0.0.0:3001"},
	} {
		c, err := Load("", append(env, "AISIX_ADMIN__KEY_FILE="+key))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := c.Admin.Secret(log); err != nil || got.Reveal() != "sixteen letters!" {
			t.Errorf("%s: %v", name, err)
		}
	}

	url, password := file(t, "rediss://user:hunter1@redis.example:6380/2\n"), file(t, "hunter2\n")
	c, err := Load("", []string{"AISIX_REDIS__URL_FILE=" + url, "AISIX_REDIS__PASSWORD_FILE=" + password})
	if err != nil {
		t.Fatal(err)
	}
	options, err := c.Redis.Options()
	if err != nil {
		t.Fatal(err)
	}
	if options.Addr != "redis.example:6380" || options.DB != 2 || options.TLSConfig == nil {
		t.Errorf("%+v", options)
	}
	ask := func() string {
		user, password, err := options.CredentialsProviderContext(t.Context())
		if err != nil {
			t.Error(err)
		}
		return user + ":" + password
	}
	if got := ask(); got != "user:hunter2" {
		t.Errorf("%s", got)
	}
	if err := os.WriteFile(password, []byte("hunter3"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != "user:hunter3" { // of the next connection
		t.Errorf("%s", got)
	}
	if said.Len() != 0 {
		t.Errorf("%s", &said)
	}
	if err := os.Chmod(password, 0o644); err != nil {
		t.Fatal(err)
	}
	client, err := c.Redis.Client(log)
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	if !strings.Contains(said.String(), "redis.password_file") || !strings.Contains(said.String(), password) || !strings.Contains(said.String(), "0644") || strings.Contains(said.String(), "hunter") {
		t.Errorf("%s", &said)
	}
}

func TestSecretsFromFilesThatAreWrong(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	for name, test := range map[string]struct{ env, want string }{
		"no file":             {"AISIX_ADMIN__KEY_FILE=/nonexistent/key", "admin.key_file: open /nonexistent/key: "},
		"an empty one":        {"AISIX_ADMIN__KEY_FILE=" + file(t, "\n"), " is empty"},
		"a short key":         {"AISIX_ADMIN__KEY_FILE=" + file(t, "hunter2"), "must have at least 16 characters"},
		"two lines":           {"AISIX_REDIS__PASSWORD_FILE=" + file(t, "hunter2\nhunter2\n"), "holds more than one line"},
		"no URL":              {"AISIX_REDIS__URL_FILE=" + file(t, "http://hunter2"), "must be redis://"},
		"a URL of a bad form": {"AISIX_REDIS__URL_FILE=" + file(t, "redis://hunter2:x/y"), "redis.url_file: "},
		"a folder":            {"AISIX_REDIS__PASSWORD_FILE=" + t.TempDir(), "redis.password_file: "},
	} {
		c, err := Load("", []string{test.env})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, err = c.Admin.Secret(log)
		if strings.HasPrefix(test.env, "AISIX_REDIS") {
			_, err = c.Redis.Options()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	for _, env := range [][]string{
		{"AISIX_ADMIN__KEY=sixteen letters!", "AISIX_ADMIN__KEY_FILE=f"},
		{"AISIX_REDIS__PASSWORD=hunter2", "AISIX_REDIS__PASSWORD_FILE=f"},
		{"AISIX_REDIS__URL=redis://other:1", "AISIX_REDIS__URL_FILE=f"},
	} {
		if _, err := Load("", env); err == nil || !strings.Contains(err.Error(), "set either this or ") {
			t.Errorf("%v: %v", env, err)
		}
	}
}
