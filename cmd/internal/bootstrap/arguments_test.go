package bootstrap

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"aisix/cmd/internal/config"
	"aisix/cmd/internal/machine"
)

// Envoy is told once how many threads it has: by the one who starts it, the configuration, or the machine.
func TestArguments(t *testing.T) {
	c := config.Default()
	told := func(more ...string) (values []string) {
		args := Arguments(c, "/b.yaml", more...)
		if args[0] != "--config-path" || args[1] != "/b.yaml" || !slices.Equal(args[len(args)-len(more):], more) {
			t.Errorf("%q", args)
		}
		for i, arg := range args {
			if value, ok := strings.CutPrefix(arg, "--concurrency="); ok {
				values = append(values, value)
			} else if arg == "--concurrency" {
				values = append(values, args[i+1])
			}
		}
		return values
	}
	if got := told(); !slices.Equal(got, []string{strconv.Itoa(machine.Workers())}) {
		t.Errorf("by the machine: %q", got)
	}
	if got := told("--cpuset-threads"); got != nil {
		t.Errorf("by its CPU set: %q", got)
	}
	c.Proxy.Workers = 3
	if got := told("--log-path", "/x"); !slices.Equal(got, []string{"3"}) {
		t.Errorf("by the configuration: %q", got)
	}
	for _, more := range [][]string{{"--concurrency", "7"}, {"--concurrency=7"}} {
		if got := told(more...); !slices.Equal(got, []string{"7"}) {
			t.Errorf("by %q: %q", more, got)
		}
	}
}
