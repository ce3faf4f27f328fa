package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// bin is the folder of the binaries under test.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	for variable, name := range map[string]string{"ENVOY": "envoy", "VALKEY_SERVER": "valkey-server"} {
		if _, err := os.Stat(tool(variable, name)); err != nil {
			fmt.Fprintf(os.Stderr, "no %s: run make tools, or name one in %s (%v)\n", name, variable, err)
			return 1
		}
	}
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	args := []string{"build", "-pgo=off"} // the profile changes speed only, and takes as long again to build
	if raceEnabled {
		args = append(args, "-race") // the processes look for their own races
	}
	build := exec.Command("go", append(args, "-o", dir+string(filepath.Separator), "aisix/cmd/admin", "aisix/cmd/extproc", "aisix/cmd/bedrocksim")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		return 1
	}
	code := m.Run()
	for _, c := range commons {
		if c.gateway != nil {
			code = c.stop(code)
		}
	}
	return code
}

// stop ends the gateway, and tells of it where the tests failed, or its processes raced. code is
// the tests' so far.
func (c *common) stop(code int) int {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c.gateway.Stop(ctx)
	if races := c.gateway.races(); races != "" {
		fmt.Fprintln(os.Stderr, races)
		code = 1
	}
	if code != 0 {
		fmt.Fprintln(os.Stderr, c.gateway.logs())
	}
	return code
}
