package store

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
)

// readKeyFile reads a file that must be its owner's alone. One that everybody can
// read or change is an error, one that its group can a warning: a Kubernetes volume
// with an fsGroup has no other way. The mode is that of the file which is read, also
// behind a symbolic link, as Kubernetes mounts secrets.
func readKeyFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if info.Mode().IsRegular() && runtime.GOOS != "windows" { // a pipe has no mode of its own
		switch mode := info.Mode().Perm(); {
		case mode&0o006 != 0:
			return "", fmt.Errorf("%s: everybody on this machine can read or change it (mode %04o): chmod 600 it; a Kubernetes secret takes defaultMode: 0400", path, mode)
		case mode&0o060 != 0:
			slog.Warn("the group of the master key's file can read or change it: chmod 600 it, unless that group is this process's own", "file", path, "mode", fmt.Sprintf("%04o", mode))
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, 1<<10)) // a key has 64 characters at most, and a line's end
	return string(text), err
}
