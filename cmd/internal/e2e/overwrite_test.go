package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"aisix/cmd/internal/certtest"
	"aisix/cmd/internal/stack"
)

// overwrite renews a certificate as cp does, in its place: the one file and then the other.
func (m *mount) overwrite() string {
	m.t.Helper()
	cert, key := certtest.New(m.t)
	for name, from := range map[string]string{"tls.crt": cert, "tls.key": key} {
		content, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(m.dir, name), content, 0o600)
		}
		if err != nil {
			m.t.Fatal(err)
		}
	}
	return m.serial()
}

// Below extproc -run-envoy Envoy shows a certificate that was written over, of which it takes no notice by
// itself, and goes on noticing what is moved.
func TestRunEnvoyShowsWhatWasWrittenOver(t *testing.T) {
	t.Parallel()
	m := &mount{t: t, dir: t.TempDir()}
	first := m.overwrite()
	dir := t.TempDir()
	socket := filepath.Join(bin, fmt.Sprintf("s%d", sockets.Add(1)))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	var log lockedBuffer
	parent := exec.Command(filepath.Join(bin, stack.Extproc), "-run-envoy", tool("ENVOY", "envoy"), "-o", filepath.Join(dir, "b.yaml"), "--", "--concurrency", "1")
	parent.Stderr, parent.Stdout, parent.Env = &log, &log, []string{
		"AISIX_PROXY__ADDRESS=" + address, "AISIX_EXTPROC__ADDRESS=unix:" + filepath.Join(dir, "none.sock"), "HOME=" + dir,
		"AISIX_PROXY__ENVOY_ADMIN=unix:" + socket,
		"AISIX_PROXY__TLS_CERT_FILE=" + filepath.Join(m.dir, "tls.crt"), "AISIX_PROXY__TLS_KEY_FILE=" + filepath.Join(m.dir, "tls.key"),
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		parent.Process.Kill() // and Envoy with it
		parent.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	shown := func(serial string) {
		t.Helper()
		eventually(t, patience, func() error {
			c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) // which it is, is looked at below
			if err != nil {
				return err
			}
			defer c.Close()
			if got := c.ConnectionState().PeerCertificates[0].SerialNumber.String(); got != serial {
				return fmt.Errorf("shows %s, not %s", got, serial)
			}
			return nil
		})
	}
	shown(first)
	for _, renew := range []func() string{m.overwrite, m.replace, m.overwrite} {
		shown(renew())
	}
}
