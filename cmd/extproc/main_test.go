package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"aisix/admin/store/redistest"
	"aisix/cmd/internal/config"
)

func TestRunEndsWithTheFirstSignalWhenNothingIsInFlight(t *testing.T) {
	metrics := free(t)
	ended := make(chan error, 1)
	setenv(t,
		"AISIX_REDIS__URL="+redistest.Start(t).URL, "AISIX_EXTPROC__ADDRESS=unix:"+t.TempDir()+"/s", "AISIX_METRICS__ADDRESS="+metrics, "AISIX_EXTPROC__LAME_DUCK=0s",
		"AISIX_SECRETS__MASTER_KEY="+strings.Repeat("ab", 32))
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- run(ctx, nil, io.Discard, io.Discard) }()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if r, err := http.Get("http://" + metrics + "/metrics"); err == nil {
			r.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no metrics")
		}
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still runs")
	}
}

// On an address that others can reach, only who has a certificate of the client CA is served.
func TestRunAsksItsClientsForACertificate(t *testing.T) {
	address, ended := free(t), make(chan error, 1)
	files := certificates(t)
	setenv(t,
		"AISIX_REDIS__URL="+redistest.Start(t).URL, "AISIX_EXTPROC__ADDRESS="+address, "AISIX_METRICS__ADDRESS=", "AISIX_EXTPROC__LAME_DUCK=0s",
		"AISIX_EXTPROC__TLS_CERT_FILE="+files+"/server.pem", "AISIX_EXTPROC__TLS_KEY_FILE="+files+"/server.key", "AISIX_EXTPROC__CLIENT_CA_FILE="+files+"/ca.pem",
		"AISIX_SECRETS__MASTER_KEY="+strings.Repeat("ab", 32))
	ctx, stop := context.WithCancel(t.Context())
	go func() { ended <- run(ctx, nil, io.Discard, io.Discard) }()
	check := func(pair string) (healthv1.HealthCheckResponse_ServingStatus, error) {
		c := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1"}
		pem, err := os.ReadFile(files + "/ca.pem")
		if err != nil || !c.RootCAs.AppendCertsFromPEM(pem) {
			t.Fatal(err)
		}
		if pair != "" {
			cert, err := tls.LoadX509KeyPair(files+"/"+pair+".pem", files+"/"+pair+".key")
			if err != nil {
				t.Fatal(err)
			}
			c.Certificates = []tls.Certificate{cert}
		}
		connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(c)))
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := healthv1.NewHealthClient(connection).Check(ctx, &healthv1.HealthCheckRequest{})
		return r.GetStatus(), err
	}
	var status healthv1.HealthCheckResponse_ServingStatus
	var err error
	for deadline := time.Now().Add(10 * time.Second); status != healthv1.HealthCheckResponse_SERVING; time.Sleep(10 * time.Millisecond) {
		if status, err = check("client"); time.Now().After(deadline) {
			t.Fatalf("not served with a good certificate: %v, %v", status, err)
		}
	}
	for _, pair := range []string{"", "stranger"} {
		if _, err := check(pair); err == nil {
			t.Errorf("served with certificate %q", pair)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// certificates is a folder with a CA, a server's and a client's certificate of it, and a stranger's.
func certificates(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	issue := func(name string, serial int64, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			IsCA: ca == nil, BasicConstraintsValid: true}
		if ca == nil {
			ca, caKey = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, caKey)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write(name+".pem", "CERTIFICATE", der)
		write(name+".key", "EC PRIVATE KEY", encoded)
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert, key
	}
	ca, key := issue("ca", 1, nil, nil)
	issue("server", 2, ca, key)
	issue("client", 3, ca, key)
	issue("stranger", 4, nil, nil)
	return dir
}

// What is wrong with the start is said by the name of what to change.
func TestRunRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(t.TempDir(), "f") // no socket, and not ours to remove
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := []string{"AISIX_REDIS__URL=redis://127.0.0.1:1", "AISIX_EXTPROC__ADDRESS=" + free(t), "AISIX_METRICS__ADDRESS=" + free(t), "AISIX_SECRETS__MASTER_KEY=" + strings.Repeat("ab", 32)}
	for _, test := range []struct {
		args []string
		env  string
		want string
	}{
		{args: []string{"foo"}, want: `unexpected argument "foo"`},
		{args: []string{"-config", "/nonexistent"}, want: "/nonexistent"},
		{env: "AISIX_EXTPROC__ADDRESS=" + l.Addr().String(), want: "extproc.address: "},
		{env: "AISIX_METRICS__ADDRESS=" + l.Addr().String(), want: "metrics.address: "},
		{env: "AISIX_EXTPROC__ADDRESS=0.0.0.0:1", want: "extproc.tls_cert_file"},
		{env: "AISIX_EXTPROC__ADDRESS=unix:/nonexistent/s", want: "extproc.address: the folder of the socket: stat /nonexistent"},
		{env: "AISIX_EXTPROC__ADDRESS=unix:" + file, want: "extproc.address: "},
		{env: "AISIX_SECRETS__MASTER_KEY=", want: "secrets.master_key"},
		{env: "AISIX_NOSUCH__KEY=1", want: "nosuch"},
	} {
		t.Run(test.want, func(t *testing.T) {
			setenv(t, append(good, test.env)...)
			err := run(t.Context(), test.args, io.Discard, io.Discard)
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), test.want) {
				t.Errorf("%v %s: %v, want %q", test.args, test.env, err, test.want)
			}
		})
	}
	if b, err := os.ReadFile(file); string(b) != "kept" {
		t.Errorf("a file in the socket's place: %q, %v", b, err)
	}
}

// Who may connect: the socket's owner and its group, which is the folder's where that is set-group-ID.
func TestTheSocketIsForItsGroup(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o750|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time over what a dead process left
		at := config.Extproc{Address: "unix:" + filepath.Join(dir, "s")}
		l, err := open(t.Context(), at, func() bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, "s"))
		if err != nil || info.Mode().Perm() != 0o660 {
			t.Errorf("%v, %v", info, err)
		}
		folder, err := os.Stat(dir)
		if err != nil || info.Sys().(*syscall.Stat_t).Gid != folder.Sys().(*syscall.Stat_t).Gid {
			t.Errorf("another group than the folder's, %v", err)
		}
		if _, err := open(t.Context(), at, func() bool { return true }); err == nil || !strings.Contains(err.Error(), "another process serves it") {
			t.Errorf("two listen on one socket: %v", err)
		}
		l.Close()
		if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
			t.Errorf("%d files are left, %v", len(files), err)
		}
	}
}

// setenv sets name=value pairs, for the test.
func setenv(t *testing.T, pairs ...string) {
	t.Helper()
	for _, pair := range pairs {
		if name, value, ok := strings.Cut(pair, "="); ok {
			t.Setenv(name, value)
		}
	}
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
