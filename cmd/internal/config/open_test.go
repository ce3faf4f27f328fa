package config

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"aisix/admin/store/redistest"
	"aisix/cmd/internal/certtest"
)

// tlsFront passes TLS connections of clients with a certificate on to address.
func tlsFront(t *testing.T, c *tls.Config, address string) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", address)
			if err != nil {
				from.Close()
				continue
			}
			go func() { io.Copy(to, from); to.Close() }()
			go func() { io.Copy(from, to); from.Close() }()
		}
	}()
	return l.Addr().String()
}

func TestRedisWithTLSAnACLUserAndAClientCertificate(t *testing.T) {
	server := redistest.Start(t)
	ctx := context.Background()
	err := server.Client().Do(ctx, "ACL", "SETUSER", "gateway", "on", ">hunter2", "~*", "+@all").Err()
	if err != nil {
		t.Fatal(err)
	}
	cert, key := certtest.New(t)
	clientCert, clientKey := certtest.New(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	clients, err := pool(clientCert)
	if err != nil {
		t.Fatal(err)
	}
	front := tlsFront(t, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}, server.Addr)

	var log strings.Builder
	ping := func(change func(*Redis)) error {
		r := Redis{URL: "rediss://" + front, Username: "gateway", Password: "hunter2", CAFile: cert, CertFile: clientCert, KeyFile: clientKey, Timeout: 5 * time.Second}
		change(&r)
		client, err := r.Client(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		if err != nil {
			return err
		}
		defer client.Close()
		name, err := client.Do(ctx, "ACL", "WHOAMI").Text()
		if err == nil && name != "gateway" {
			t.Errorf("connected as %q", name)
		}
		return err
	}
	if err := ping(func(*Redis) {}); err != nil {
		t.Errorf("all set: %v", err)
	}
	if err := ping(func(r *Redis) { r.URL, r.Username, r.Password = "rediss://gateway:hunter2@"+front, "", "" }); err != nil {
		t.Errorf("user and password in the URL: %v", err)
	}
	for name, change := range map[string]func(*Redis){
		"no client certificate":       func(r *Redis) { r.CertFile, r.KeyFile = "", "" },
		"another CA":                  func(r *Redis) { r.CAFile = clientCert },
		"the system's CAs":            func(r *Redis) { r.CAFile = "" },
		"a wrong password":            func(r *Redis) { r.Password = "hunter3" },
		"no TLS":                      func(r *Redis) { r.URL = "redis://" + front },
		"a CA file that is none":      func(r *Redis) { r.CAFile = key },
		"a CA file that is not there": func(r *Redis) { r.CAFile = "nowhere.pem" },
		"a key that does not fit":     func(r *Redis) { r.KeyFile = key },
	} {
		if err := ping(change); err == nil {
			t.Errorf("%s: connected", name)
		}
	}
	if strings.Contains(log.String(), "hunter") {
		t.Errorf("a password is logged: %s", log.String())
	}
}
