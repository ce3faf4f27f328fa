package stack

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"aisix/cmd/internal/config"
)

// free reports whether the part can listen there, or names who should make room.
func (l listen) free(part string) error {
	if l.network == "unix" {
		return l.freeSocket(part)
	}
	listener, err := net.Listen(l.network, l.address)
	if err == nil {
		return listener.Close()
	}
	_, port, _ := net.SplitHostPort(l.address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %s is taken: %s wants to listen on %s. Stop what listens there, or %s", port, part, l.address, l.otherwise)
	}
	return fmt.Errorf("%s cannot listen on %s: %w", part, l.address, err)
}

// freeSocket removes the socket of a process that is gone, and refuses one that is served. What is no
// socket is left alone.
func (l listen) freeSocket(part string) error {
	connection, err := net.Dial("unix", l.address)
	if err == nil {
		connection.Close()
		return fmt.Errorf("socket %s is taken: %s wants to listen there. Stop what serves it, or %s", l.address, part, l.otherwise)
	}
	info, err := os.Lstat(l.address)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, err = os.Stat(filepath.Dir(l.address)); err != nil {
			return fmt.Errorf("%s cannot listen on %s: %w", part, l.address, err)
		}
		return nil
	case err == nil && info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("%s cannot listen on %s: the file there is no socket", part, l.address)
	case err == nil:
		err = os.Remove(l.address)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", part, err)
	}
	return nil
}

// reachable is a listening address as a client on this machine dials it: 0.0.0.0 becomes 127.0.0.1.
func reachable(address string) string {
	host, port, _ := net.SplitHostPort(address)
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if strings.Contains(address, "[::]") {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}

// ports are those that FreePort gives, one after the other: one that was given may not be
// listened on yet. Processes begin at different ones.
var ports atomic.Uint32

func init() { ports.Store(uint32(os.Getpid()) * 997) }

// FreePort is an address on loopback that nobody listens on now, for tests, and that this
// process has not given before. It is below those that the kernel gives to whoever
// connects somewhere: one of these may be taken again while the listener that had it is
// restarted.
func FreePort() (string, error) {
	var err error
	for range 100 {
		var listener net.Listener
		if listener, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+ports.Add(1)%20_000)); err == nil {
			defer listener.Close()
			return listener.Addr().String(), nil
		}
	}
	return "", err
}

// elsewhere is how a listener is moved: by the environment variable of its key.
func elsewhere(key string) string {
	return "choose another address: " + config.EnvName(key) + "=host:port"
}
