package config

import (
	"crypto/tls"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"aisix/cmd/internal/certtest"
)

// Both ends read their certificates and CAs anew, in whichever way they were put into place, and no
// connection fails on the way.
func TestCertificatesAreReadAnew(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	over := func(from, to string) { // as cp does
		t.Helper()
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	moved := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	linked := func(from, to string) { // as certbot does
		t.Helper()
		os.Remove(to)
		if err := os.Symlink(from, to); err != nil {
			t.Fatal(err)
		}
	}
	// Each end is its own CA: the other one trusts its certificate.
	renew := func(put func(from, to string)) (server, client string) {
		t.Helper()
		serial := func(end string) string {
			cert, key := certtest.New(t)
			over(cert, at(end+".ca"))
			put(key, at(end+".key")) // for a moment it does not fit
			put(cert, at(end+".crt"))
			pair, err := tls.LoadX509KeyPair(at(end+".crt"), at(end+".key"))
			if err != nil {
				t.Fatal(err)
			}
			return pair.Leaf.SerialNumber.String()
		}
		return serial("server"), serial("client")
	}
	renew(over)
	serve, err := Extproc{TLSCertFile: at("server.crt"), TLSKeyFile: at("server.key"), ClientCAFile: at("client.ca")}.TLS()
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", serve)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	shown := make(chan string, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if err := c.(*tls.Conn).Handshake(); err != nil {
				shown <- err.Error()
			} else {
				shown <- c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
			}
			c.Close()
		}
	}()
	options, err := Redis{URL: "rediss://" + l.Addr().String(), CAFile: at("server.ca"), CertFile: at("client.crt"), KeyFile: at("client.key"), Timeout: 5 * time.Second}.Options()
	if err != nil {
		t.Fatal(err)
	}
	check := func(how, server, client string) {
		t.Helper()
		c, err := options.Dialer(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatalf("%s: %v, %s", how, err, <-shown)
		}
		defer c.Close()
		if got := c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(); got != server {
			t.Errorf("%s: the server shows %s, want %s", how, got, server)
		}
		if got := <-shown; got != client {
			t.Errorf("%s: the client shows %s, want %s", how, got, client)
		}
		io.Copy(io.Discard, c)
	}
	for how, put := range map[string]func(from, to string){"written over": over, "moved": moved, "linked": linked} {
		server, client := renew(put)
		check(how, server, client)
		check(how+", again", server, client)
	}
	// What can't be used leaves the one before in force.
	server, client := renew(moved)
	check("whole", server, client)
	if err := os.WriteFile(at("server.key"), []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(at("client.crt")); err != nil {
		t.Fatal(err)
	}
	check("broken", server, client)
}
