// Package version says which build of the gateway a binary is.
//
// A build from a checkout knows its commit and date by itself (Go stamps them); one from an archive,
// as in an image, is told:
//
//	go build -ldflags "-X aisix/cmd/internal/version.Version=v1.2.3 -X …version.Commit=abc -X …version.Date=2026-11-26T00:00:00Z"
package version

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
)

// What the linker may be told; empty: what Go knows.
var (
	Version string
	Commit  string
	Date    string
)

// Build is what there is to say about a binary; what nobody knows is "unknown".
type Build struct{ Version, Commit, Date, Go string }

// Of is this binary.
func Of() Build {
	info, _ := debug.ReadBuildInfo()
	return of(info, Build{Version, Commit, Date, runtime.Version()})
}

// of completes what the linker was told by what Go knows.
func of(info *debug.BuildInfo, told Build) Build {
	b := told
	if info != nil {
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
		modified := ""
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && told.Commit == "":
				b.Commit = s.Value
			case s.Key == "vcs.time" && told.Date == "":
				b.Date = s.Value
			case s.Key == "vcs.modified" && s.Value == "true" && told.Commit == "":
				modified = "+modified"
			}
		}
		if b.Commit != "" {
			b.Commit += modified
		}
	}
	for _, part := range []*string{&b.Version, &b.Commit, &b.Date} {
		if *part == "" {
			*part = "unknown"
		}
	}
	return b
}

// String is the line that -version prints, behind the binary's name.
func (b Build) String() string {
	return fmt.Sprintf("%s (commit %s, %s, %s)", b.Version, b.Commit, b.Date, strings.TrimSuffix(b.Go, "\n"))
}

// Print is what -version does.
func Print(w io.Writer, name string) error {
	_, err := fmt.Fprintln(w, name, Of())
	return err
}
