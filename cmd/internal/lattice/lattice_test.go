// Package lattice states which package may import which, and which alone owns a
// big dependency. It holds for what ships: tests may import more.
package lattice

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// may is, for every package of ours, the packages of ours that it may import. A
// pattern ending in /... is a whole tree, one that starts with a ! takes back.
var may = map[string][]string{
	"cmd/admin":                     {"...", "!extproc/..."},
	"cmd/bedrocksim/...":            {"cmd/bedrocksim/..."},
	"cmd/extproc":                   {"..."},
	"cmd/local":                     {"..."}, // what make run starts
	"cmd/internal/config":           {},
	"cmd/internal/stack":            {"cmd/internal/config", "envoy"},
	"cmd/internal/e2e":              {"..."},
	"extproc":                       {"extproc/...", "admin/resource", "admin/snapshot", "!extproc"},
	"extproc/exchange":              {},
	"extproc/chat":                  {"extproc/fault"},
	"extproc/openai":                {"extproc/chat", "extproc/fault", "extproc/sse"},
	"extproc/anthropic":             {"extproc/chat", "extproc/fault", "extproc/sse"},
	"extproc/bedrock":               {"extproc/chat", "extproc/anthropic", "extproc/fault", "admin/resource"},
	"extproc/ratelimit":             {"extproc/fault", "admin/resource"},
	"extproc/usage":                 {"extproc/chat", "admin/ledger", "proto/..."},
	"extproc/fault":                 {},
	"extproc/sse":                   {},
	"admin":                         {"admin/...", "!admin"},
	"admin/resource":                {},
	"admin/snapshot":                {"admin/resource"},
	"admin/store":                   {"admin/resource", "admin/snapshot"},
	"admin/ledger":                  {"admin/resource", "proto/..."},
	"envoy":                         {},
	"proto/aisix/v1":                {},
	"admin/store/redistest":         {},
	"extproc/exchange/exchangetest": {"extproc/exchange"},
}

// testOnly are packages that nothing which ships may import.
var testOnly = []string{"admin/store/redistest", "extproc/exchange/exchangetest", "cmd/internal/e2e"}

// owners are, for every big dependency, the packages that may import it.
var owners = map[string][]string{
	"github.com/spf13/viper":    {"cmd/internal/config"},
	"github.com/aws/...":        {"extproc/bedrock"},
	"github.com/prometheus/...": {"extproc/usage"},
	"github.com/redis/...":      {"extproc/ratelimit", "admin/ledger", "admin/store", "admin/store/redistest", "cmd/..."},

	"github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3": {"extproc/exchange", "extproc/exchange/exchangetest",
		"extproc"}, // extproc registers the service
	"github.com/envoyproxy/go-control-plane/envoy/config/...":     {"envoy", "extproc/exchange", "extproc/exchange/exchangetest"}, // exchange: parts of ext_proc messages
	"github.com/envoyproxy/go-control-plane/envoy/extensions/...": {"envoy", "extproc/exchange", "extproc/exchange/exchangetest"},
}

func TestImports(t *testing.T) {
	const module = "aisix/"
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := row(may, name)
		if !known && len(p.GoFiles) > 0 {
			t.Errorf("%s: a package that the table does not know: say what it may import", name)
		}
		for _, i := range p.Imports {
			own, isOwn := strings.CutPrefix(i, module)
			switch {
			case !isOwn:
				if who, owned := row(owners, i); owned && !matches(who, name) {
					t.Errorf("%s imports %s, which belongs to %s", name, i, strings.Join(who, ", "))
				}
			case slices.Contains(testOnly, own):
				t.Errorf("%s imports %s, which is for tests only", name, own)
			case !matches(allowed, own):
				t.Errorf("%s may not import %s", name, own)
			}
		}
	}
}

// The table's own rules, so that a row added in haste does not undo them.
func TestNever(t *testing.T) {
	all := packages(t)
	for name, allowed := range may {
		for _, p := range all {
			own := strings.TrimPrefix(p.ImportPath, "aisix/")
			if !matches(allowed, own) {
				continue
			}
			isAdmin, isExtproc := tree("admin/...", name), tree("extproc/...", name)
			if isAdmin && tree("extproc/...", own) || isExtproc && (own == "admin" || own == "envoy") || !tree("cmd/...", name) && tree("cmd/...", own) {
				t.Errorf("the table lets %s import %s", name, own)
			}
		}
	}
}

type listed struct {
	ImportPath string
	GoFiles    []string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	list := exec.Command("go", "list", "-json=ImportPath,GoFiles,Imports", "aisix/...")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			if len(all) < 20 {
				t.Fatalf("go list found %d packages", len(all))
			}
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// row is the value of the longest pattern that has the name.
func row(table map[string][]string, name string) (value []string, ok bool) {
	longest := ""
	for pattern, v := range table {
		if tree(pattern, name) && len(pattern) >= len(longest) {
			longest, value, ok = pattern, v, true
		}
	}
	return value, ok
}

func matches(patterns []string, name string) bool {
	in := false
	for _, p := range patterns {
		if taken, ok := strings.CutPrefix(p, "!"); ok {
			if tree(taken, name) {
				return false
			}
			continue
		}
		in = in || tree(p, name)
	}
	return in
}

// tree tells whether a pattern has the name: itself, or below what stands before
// /..., that included.
func tree(pattern, name string) bool {
	if pattern == "..." {
		return true
	}
	root, all := strings.CutSuffix(pattern, "/...")
	return name == root || all && strings.HasPrefix(path.Clean(name), root+"/")
}
