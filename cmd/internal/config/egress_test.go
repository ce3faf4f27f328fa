package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhereEgressIs(t *testing.T) {
	long := "unix:/" + strings.Repeat("d", 100) + "/s"
	for _, test := range []struct{ extproc, egress, want string }{
		{"unix:/run/aisix/extproc.sock", "auto", "unix:/run/aisix/egress.sock"},
		{"unix:/sock/a", "auto", "unix:/sock/a.egress"},
		{"127.0.0.1:3002", "auto", ""},
		{long, "auto", ""},
		{"unix:/run/aisix/extproc.sock", "", ""},
		{"127.0.0.1:3002", "unix:/run/e", "unix:/run/e"},
	} {
		c, err := Load("", []string{"AISIX_EXTPROC__ADDRESS=" + test.extproc, "AISIX_EGRESS__ADDRESS=" + test.egress})
		if err != nil || c.EgressAddress() != test.want {
			t.Errorf("%+v: %v", test, err)
		}
	}
	for addresses, want := range map[string]string{"unix:/a/extproc.sock": "unix:/a/egress.sock", "unix:/a/x,unix:/a/y": ""} {
		c, err := Load("", []string{"AISIX_EXTPROC__ADDRESSES=" + addresses})
		if err != nil || c.EgressAddress() != want {
			t.Errorf("%s: %v", addresses, err)
		}
	}
	for address, says := range map[string]string{
		"0.0.0.0:3003": "must be loopback", "127.0.0.1:3003": "set egress.secret_file", "unix:run/e": "absolute path", "here": "must be auto",
	} {
		if _, err := Load("", []string{"AISIX_EGRESS__ADDRESS=" + address}); err == nil || !strings.Contains(err.Error(), "egress.address") || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestEgressSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for _, test := range []struct {
		content string
		mode    os.FileMode
		says    string // of the error, "" is none
	}{
		{"correct-horse-battery\n", 0o640, ""},
		{"correct-horse-battery", 0o644, "every user"},
		{"short", 0o600, "16 to 512"},
		{"correct horse battery staple", 0o600, "16 to 512"},
	} {
		if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		secret, err := Egress{SecretFile: path}.Secret()
		if (err == nil) != (test.says == "") || err != nil && (!strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), test.content)) {
			t.Errorf("%+v: %v", test, err)
		}
		if err == nil && secret.Reveal() != "correct-horse-battery" {
			t.Errorf("%q", secret.Reveal())
		}
	}
	if _, err := (Egress{SecretFile: path + "x"}).Secret(); err == nil {
		t.Error("a file that is not there")
	}
}
