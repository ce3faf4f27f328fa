package lattice

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// versioned is an import path whose last element is an API version, as Envoy's
// protos have it: v3 says nothing, so that each import takes an alias.
var versioned = regexp.MustCompile(`^github\.com/envoyproxy/.*/(v[0-9]+)$`)

// TestAliases holds the aliases of Envoy's packages: each path has one, the same in
// every file, and it ends in the path's version (corev3, listenerv3).
func TestAliases(t *testing.T) {
	first := map[string]string{} // alias by path
	seen := 0
	for _, file := range goFiles(t) {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range parsed.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			version := versioned.FindStringSubmatch(path)
			if version == nil || i.Name != nil && i.Name.Name == "_" {
				continue
			}
			seen++
			switch known := first[path]; {
			case i.Name == nil || !strings.HasSuffix(i.Name.Name, version[1]):
				t.Errorf("%s imports %s without an alias that ends in %s", file, path, version[1])
			case known == "":
				first[path] = i.Name.Name
			case known != i.Name.Name:
				t.Errorf("%s imports %s as %s, another file as %s", file, path, i.Name.Name, known)
			}
		}
	}
	if seen == 0 {
		t.Fatal("found no import of Envoy's packages")
	}
}

// goFiles are all of our Go files, tests too.
func goFiles(t *testing.T) (files []string) {
	t.Helper()
	for _, top := range []string{"admin", "cmd", "envoy", "extproc", "proto"} {
		err := filepath.WalkDir(filepath.Join("../../..", top), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.HasSuffix(path, ".go") {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}
