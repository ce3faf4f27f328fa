// Package lattice states which package may import which, and which alone owns a
// big dependency. It holds for what ships: tests may import more.
package lattice

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// may is, for every package of ours, the packages of ours that it may import. A
// pattern ending in /... is a whole tree, one that starts with a ! takes back.
var may = map[string][]string{
	"cmd/admin":                     {"...", "!extproc/..."},
	"cmd/bedrocksim/...":            {"cmd/bedrocksim/...", "cmd/internal/version"},
	"cmd/extproc":                   {"..."},
	"cmd/local":                     {"..."}, // what make run starts
	"cmd/internal/config":           {"extproc/sockets"},
	"cmd/internal/machine":          {},
	"cmd/internal/bootstrap":        {"cmd/internal/config", "cmd/internal/machine", "envoy"},
	"cmd/internal/envoyrun":         {},
	"cmd/internal/version":          {},
	"cmd/internal/stack":            {"cmd/internal/bootstrap", "cmd/internal/config"},
	"cmd/internal/e2e":              {"..."},
	"cmd/internal/mesh":             {"..."},
	"cmd/internal/xds":              {"envoy"},                                                       // an example, for control planes of other people
	"cmd/internal/composetest":      {},                                                              // what make compose-test runs
	"cmd/internal/bench":            {"cmd/internal/bench/...", "cmd/internal/stack", "admin/store"}, // what make bench runs
	"cmd/internal/bench/load":       {},
	"cmd/internal/bench/noop":       {},
	"cmd/internal/bench/proc":       {},
	"cmd/internal/bench/upstream":   {},
	"extproc":                       {"extproc/...", "admin/resource", "admin/snapshot", "!extproc"},
	"extproc/exchange":              {},
	"extproc/rpc":                   {"extproc/sockets"},
	"extproc/sockets":               {},
	"extproc/admission":             {},
	"extproc/connections":           {},
	"extproc/chat":                  {"extproc/fault"},
	"extproc/jsonappend":            {},
	"extproc/jsonedit":              {},
	"extproc/egress":                {"extproc/exchange"},
	"extproc/routing":               {"extproc/jsonedit", "admin/cooling"},
	"extproc/fetch":                 {"extproc/chat", "extproc/fault", "admin/resource/netaddr"},
	"extproc/embeddings":            {},
	"extproc/openai":                {"extproc/chat", "extproc/embeddings", "extproc/fault", "extproc/responses", "extproc/sse", "extproc/jsonappend", "extproc/jsonedit", "admin/strict"},
	"extproc/anthropic":             {"extproc/chat", "extproc/fault", "extproc/sse", "extproc/jsonappend", "extproc/jsonedit", "extproc/plainjson", "admin/strict"},
	"extproc/plainjson":             {},
	"extproc/completions":           {"extproc/chat", "extproc/fault", "extproc/plainjson"},
	"extproc/responses":             {"extproc/chat", "extproc/fault", "extproc/completions", "extproc/sse", "extproc/jsonappend", "extproc/plainjson", "admin/strict"},
	"extproc/bedrock":               {"extproc/chat", "extproc/embeddings", "extproc/anthropic", "extproc/completions", "extproc/responses", "extproc/sse", "extproc/bedrock/...", "extproc/plainjson", "extproc/fault", "extproc/identity", "extproc/jsonappend", "extproc/jsonedit", "admin/resource"},
	"extproc/bedrock/redact":        {"extproc/chat"},
	"extproc/bedrock/sigv4":         {},
	"extproc/bedrock/schema":        {"extproc/chat", "admin/strict"},
	"extproc/identity":              {"admin/resource", "extproc/fault"},
	"extproc/ratelimit":             {"extproc/fault", "admin/resource"},
	"extproc/usage":                 {"extproc/chat", "extproc/jsonappend", "admin/ledger", "proto/..."},
	"extproc/fault":                 {"admin/strict"},
	"extproc/sse":                   {},
	"admin":                         {"admin/...", "!admin"},
	"admin/internal/openapi":        {"admin"}, // what make generate runs
	"admin/resource":                {"admin/resource/netaddr", "admin/strict"},
	"admin/resource/netaddr":        {},
	"admin/backup":                  {"admin/store", "admin/ledger", "admin/resource"},
	"admin/strict":                  {},
	"admin/snapshot":                {"admin/resource"},
	"admin/store":                   {"admin/resource", "admin/snapshot"},
	"admin/ledger":                  {"admin/resource", "proto/..."},
	"admin/cooling":                 {},
	"envoy":                         {"admin/resource/netaddr"},
	"envoy/envoytest":               {},
	"envoy/internal/shipped":        {"envoy"}, // what make generate runs
	"proto/aisix/v1":                {},
	"admin/store/redistest":         {},
	"cmd/internal/certtest":         {},
	"extproc/exchange/exchangetest": {"extproc/exchange"},
}

// testOnly are packages that nothing which ships may import.
var testOnly = []string{"admin/store/redistest", "cmd/internal/certtest", "extproc/exchange/exchangetest", "envoy/envoytest", "cmd/internal/e2e", "cmd/internal/mesh"}

// owners are, for every big dependency, the packages that may import it.
var owners = map[string][]string{
	"github.com/spf13/viper":            {"cmd/internal/config"},
	"github.com/aws/...":                {"extproc/bedrock", "extproc/identity"},
	"github.com/prometheus/...":         {"extproc/usage"},
	"github.com/go-json-experiment/...": {"admin/strict", "admin/resource", "extproc/chat", "extproc/openai", "extproc/anthropic", "extproc/responses", "extproc/embeddings", "extproc/bedrock", "extproc/bedrock/schema", "extproc/bedrock/redact", "cmd/bedrocksim/sim"},
	"github.com/redis/...":              {"extproc/ratelimit", "admin/cooling", "admin/ledger", "admin/store", "admin/store/redistest", "cmd/..."},

	"github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3": {"extproc/exchange", "extproc/exchange/exchangetest",
		"extproc", // extproc registers the service
		"cmd/internal/bench/noop"},
	"github.com/envoyproxy/go-control-plane/envoy/config/...":     {"envoy", "cmd/internal/xds", "extproc/exchange", "extproc/exchange/exchangetest", "cmd/internal/bench/noop"}, // but for envoy: parts of ext_proc messages
	"github.com/envoyproxy/go-control-plane/envoy/extensions/...": {"envoy", "cmd/internal/xds", "extproc/exchange", "extproc/exchange/exchangetest"},
}

func TestImports(t *testing.T) {
	const module = "aisix/"
	for _, p := range packages(t) {
		name := p.name
		allowed, known := row(may, name)
		if !known {
			t.Errorf("%s: a package that the table does not know: say what it may import", name)
		}
		for _, i := range p.imports {
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
			own := p.name
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

// pkg is a package of ours and what its files import, tests left out.
type pkg struct {
	name    string // without the module
	imports []string
}

// packages reads the source itself, so that go test knows what its cached answer
// depends on.
func packages(t *testing.T) []pkg {
	t.Helper()
	const root = "../../.."
	var all []pkg
	for _, top := range []string{"admin", "cmd", "envoy", "extproc", "proto"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if d.Name() == "testdata" {
				return filepath.SkipDir
			}
			imports, err := importsOf(path)
			if len(imports) > 0 {
				all = append(all, pkg{filepath.ToSlash(strings.TrimPrefix(path, root+"/")), imports})
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 20 {
		t.Fatalf("found %d packages", len(all))
	}
	return all
}

func importsOf(dir string) (imports []string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return nil, err
		}
		for _, i := range parsed.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return nil, err
			}
			imports = append(imports, path)
		}
	}
	return imports, err
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

// tree reports whether a pattern has the name: itself, or below what stands before
// /..., that included.
func tree(pattern, name string) bool {
	if pattern == "..." {
		return true
	}
	root, all := strings.CutSuffix(pattern, "/...")
	return name == root || all && strings.HasPrefix(name, root+"/")
}
