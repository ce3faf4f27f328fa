package identity

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aisix/admin/resource"
)

func TestToken(t *testing.T) {
	s := New(Options{})
	defer s.Close()
	for _, c := range []struct {
		of   resource.Credentials
		want Token
	}{
		{resource.Static{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "session", Region: "us-west-2"},
			Token{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "session"}},
		{resource.BedrockAPIKey{APIKey: "ABSKsecret", Region: "us-west-2"}, Token{Bearer: "ABSKsecret"}},
	} {
		if token, err := s.Token(t.Context(), &resource.ProviderKey{Credentials: c.of}); err != nil || token != c.want {
			t.Errorf("%+v, %v", token, err)
		}
	}
}

// A kind of credentials that has no case here is an error, and no request unsigned; so is
// what the configuration does not grant, whatever admin let through.
func TestNoToken(t *testing.T) {
	s := New(Options{Grants: resource.Grants{TokenDirs: []string{"/var/run/tokens"}}})
	defer s.Close()
	const role = "arn:aws:iam::123456789012:role/x"
	for _, c := range []resource.Credentials{
		nil,
		resource.Ambient{Region: "us-west-2"},
		resource.AssumeRole{RoleARN: role, Region: "us-west-2"},
		resource.WebIdentity{RoleARN: role, TokenFile: "/var/run/tokensother/t", Region: "us-west-2"},
		resource.WebIdentity{RoleARN: role, TokenFile: "/var/run/tokens", Region: "us-west-2"},
		resource.WebIdentity{RoleARN: role, TokenFile: "/var/run/tokens/../secrets/t", Region: "us-west-2"},
	} {
		token, err := s.Token(t.Context(), &resource.ProviderKey{Credentials: c})
		if err == nil {
			t.Errorf("%T: %+v", c, token)
		}
	}
	if len(s.leases) != 0 {
		t.Errorf("%d leases", len(s.leases))
	}
}

// Links within a granted folder are followed, as Kubernetes makes them; none out of it is.
func TestTokenFile(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to, at string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, at)); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(outside, "secret"), "hidden")
	write(filepath.Join(dir, "..2026", "token"), "first")
	write(filepath.Join(dir, "empty"), "")
	link("..2026", "..data")
	link("..data/token", "token")
	link(filepath.Join(outside, "secret"), "out")
	link(outside, "folder")
	f := tokenFile{resource.Grants{TokenDirs: []string{"/nowhere", dir}}, filepath.Join(dir, "token")}
	if token, err := f.GetIdentityToken(); string(token) != "first" || err != nil {
		t.Errorf("%q %v", token, err)
	}
	write(filepath.Join(dir, "..2026", "token"), "second")
	if token, err := f.GetIdentityToken(); string(token) != "second" || err != nil {
		t.Errorf("%q %v", token, err)
	}
	for _, bad := range []string{"out", "folder/secret", "../" + filepath.Base(outside) + "/secret", "empty", "missing", "..data"} {
		f.path = dir + "/" + bad
		if token, err := f.GetIdentityToken(); err == nil || strings.Contains(string(token), "hidden") {
			t.Errorf("%s: %q %v", bad, token, err)
		}
	}
}
