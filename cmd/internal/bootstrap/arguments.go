package bootstrap

import (
	"slices"
	"strconv"
	"strings"

	"aisix/cmd/internal/config"
	"aisix/cmd/internal/machine"
)

// Arguments are those of an Envoy that runs by the start file at path, and more of them. How many
// threads it has follows from proxy.workers, unless more says so itself.
func Arguments(c *config.Config, path string, more ...string) []string {
	args := []string{
		"--config-path", path, "--log-level", "warn",
		"--component-log-level", "misc:error", // else a dozen warnings about xDS messages that are work in progress
		"--disable-hot-restart",
	}
	if !slices.ContainsFunc(more, setsWorkers) {
		workers := c.Proxy.Workers
		if workers == 0 {
			workers = machine.Workers()
		}
		args = append(args, "--concurrency", strconv.Itoa(workers))
	}
	return append(args, more...)
}

// setsWorkers reports whether an argument says how many threads Envoy has; it takes each only once.
func setsWorkers(arg string) bool {
	name, _, _ := strings.Cut(arg, "=")
	return name == "--concurrency" || name == "--cpuset-threads"
}
