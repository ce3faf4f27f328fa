package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	checkout := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.time", Value: "2026-11-26T01:02:03Z"}, {Key: "vcs.modified", Value: "true"},
	}}
	for name, test := range map[string]struct {
		info *debug.BuildInfo
		told Build
		want string
	}{
		"a checkout":           {checkout, Build{Go: "go1.26"}, "v1.2.3 (commit abc+modified, 2026-11-26T01:02:03Z, go1.26)"},
		"the linker was told":  {checkout, Build{"v9", "def", "today", "go1.26"}, "v9 (commit def, today, go1.26)"},
		"an archive":           {&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, Build{Go: "go1.26"}, "unknown (commit unknown, unknown, go1.26)"},
		"nothing is known":     {nil, Build{Go: "go1.26"}, "unknown (commit unknown, unknown, go1.26)"},
		"a version and no vcs": {nil, Build{Version: "v1", Go: "go1.26"}, "v1 (commit unknown, unknown, go1.26)"},
	} {
		if got := of(test.info, test.told).String(); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
	var out strings.Builder
	if err := Print(&out, "extproc"); err != nil || !strings.HasPrefix(out.String(), "extproc ") || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("%q, %v", out.String(), err)
	}
}
