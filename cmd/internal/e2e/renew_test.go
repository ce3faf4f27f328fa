package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"aisix/cmd/internal/certtest"
)

// mount is a folder as Kubernetes mounts a secret: the files are links into a folder that is swapped.
type mount struct {
	t    *testing.T
	dir  string
	turn int
}

// put renews the certificate as Kubernetes does, and gives its serial number.
func (m *mount) put() string {
	m.t.Helper()
	cert, key := certtest.New(m.t)
	m.turn++
	data := fmt.Sprintf("..%d", m.turn)
	if err := os.Mkdir(filepath.Join(m.dir, data), 0o700); err != nil {
		m.t.Fatal(err)
	}
	for name, from := range map[string]string{"tls.crt": cert, "tls.key": key} {
		move(m.t, from, filepath.Join(m.dir, data, name))
		if m.turn == 1 {
			if err := os.Symlink(filepath.Join("..data", name), filepath.Join(m.dir, name)); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	link := filepath.Join(m.dir, "..link")
	if err := os.Symlink(data, link); err != nil {
		m.t.Fatal(err)
	}
	move(m.t, link, filepath.Join(m.dir, "..data"))
	return m.serial()
}

// replace renews it as an administrator does, with mv: the one file and then the other.
func (m *mount) replace() string {
	m.t.Helper()
	cert, key := certtest.New(m.t)
	move(m.t, key, filepath.Join(m.dir, "tls.key"))
	move(m.t, cert, filepath.Join(m.dir, "tls.crt"))
	return m.serial()
}

func (m *mount) serial() string {
	m.t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(m.dir, "tls.crt"), filepath.Join(m.dir, "tls.key"))
	if err != nil {
		m.t.Fatal(err)
	}
	return pair.Leaf.SerialNumber.String()
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// front takes plain connections for a TLS server, and remembers what certificates it has shown.
type front struct {
	net.Listener
	to     string
	mu     sync.Mutex
	last   string // the serial number that was shown last
	failed int
}

func newFront(t *testing.T, to string) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{Listener: l, to: to}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return f
}

func (f *front) serve(c net.Conn) {
	defer c.Close()
	up, err := tls.Dial("tcp", f.to, &tls.Config{InsecureSkipVerify: true}) // whose it is, is looked at below
	f.mu.Lock()
	if err != nil {
		f.failed++
	} else {
		f.last = up.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	f.mu.Unlock()
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		io.Copy(up, c)
		up.CloseWrite()
	}()
	io.Copy(c, up)
}

// A certificate is renewed, in both of the ways in which that is done, while streams run and calls come, each
// on a connection of its own: the new one is shown soon, no handshake fails, no call fails, no stream is cut.
func TestCertificateRenewal(t *testing.T) {
	t.Parallel()
	m := &mount{t: t, dir: t.TempDir()}
	m.put()
	g := start(t, options{env: []string{"AISIX_PROXY__TLS_CERT_FILE=" + filepath.Join(m.dir, "tls.crt"), "AISIX_PROXY__TLS_KEY_FILE=" + filepath.Join(m.dir, "tls.key")}})
	f := newFront(t, g.Config.Proxy.Address)
	g.proxy = "http://" + f.Addr().String()
	u, release := held(t)
	c := g.tenant(t, u.URL, settings{})
	open := c.streams(t, 3)
	all := c.call(t, 3)
	all.more(t, 20, "200")
	for i, renew := range []func() string{m.put, m.put, m.replace, m.replace} {
		serial := renew()
		eventually(t, patience, func() error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.last != serial {
				return fmt.Errorf("renewal %d is not shown", i)
			}
			return nil
		})
		all.more(t, 10, "200")
	}
	all.only(t, "200")
	release()
	c.whole(t, open)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed > 0 {
		t.Errorf("%d handshakes failed", f.failed)
	}
}
