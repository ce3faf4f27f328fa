package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// EgressAuto is egress.address where nobody says otherwise: a socket beside extproc's.
const EgressAuto = "auto"

// longestSocket is the longest path of a Unix socket.
const longestSocket = 107

// EgressAddress is where the egress listener is, unix:/path or host:port; "" where there is none.
// auto is a socket in the folder of extproc's, named after it; and nothing where extproc itself
// listens on TCP, or Envoy has several.
func (c *Config) EgressAddress() string {
	if c.Egress.Address != EgressAuto {
		return c.Egress.Address
	}
	reached := c.Extproc.Address
	if len(c.Extproc.Addresses) > 0 {
		reached = c.Extproc.Addresses[0]
	}
	path, isSocket := strings.CutPrefix(reached, "unix:")
	if !isSocket || len(c.Extproc.Addresses) > 1 {
		return ""
	}
	folder, name := filepath.Split(path)
	if strings.Contains(name, "extproc") {
		name = strings.Replace(name, "extproc", "egress", 1)
	} else {
		name += ".egress"
	}
	if len(folder+name) > longestSocket {
		return ""
	}
	return "unix:" + folder + name
}

func (e Egress) address() error {
	switch {
	case e.Address == EgressAuto, e.Address == "":
		return nil
	case strings.HasPrefix(e.Address, "unix:"):
		return unixSocket(e.Address)
	case hostPort(e.Address) != nil:
		return errors.New("must be auto, unix:/path, host:port on loopback, or empty")
	case !loopback(e.Address):
		return errors.New("must be loopback or a Unix socket: whoever reaches it may send what extproc may")
	case e.SecretFile == "":
		return errors.New("is open to every process of this machine: set egress.secret_file, or name a Unix socket")
	}
	return nil
}

// egressSecret is what a header carries as it is.
var egressSecret = regexp.MustCompile(`^[!-~]{16,512}$`)

// Secret is the content of secret_file; "" where none is named.
func (e Egress) Secret() (Secret, error) {
	if e.SecretFile == "" {
		return "", nil
	}
	info, err := os.Stat(e.SecretFile)
	if err != nil {
		return "", fmt.Errorf("egress.secret_file: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("egress.secret_file: %s: %w", e.SecretFile, errOpen)
	}
	raw, err := os.ReadFile(e.SecretFile)
	if err != nil {
		return "", fmt.Errorf("egress.secret_file: %w", err)
	}
	secret := bytes.TrimSpace(raw)
	if !egressSecret.Match(secret) {
		return "", errors.New("egress.secret_file: must hold 16 to 512 visible ASCII characters: make it with `openssl rand -base64 32`")
	}
	return Secret(secret), nil
}

var errOpen = fmt.Errorf("%w: every user of this machine may read it; make its mode 0640 or 0600", fs.ErrPermission)
