package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// module is one whose packages are linked in.
type module struct {
	Path, Version, Dir string
	Main               bool
}

// licences writes THIRD_PARTY_LICENSES: a list, and then every licence as its module has it. A module
// without one, or with one that is not known here, ends the release: somebody has to look at it.
func (r *release) licences(ctx context.Context) error {
	modules, err := r.modules(ctx)
	if err != nil {
		return err
	}
	goroot, err := r.say(ctx, r.root, nil, "go", "env", "GOROOT")
	if err != nil {
		return err
	}
	goVersion, err := r.say(ctx, r.root, nil, "go", "env", "GOVERSION")
	if err != nil {
		return err
	}
	modules = append(modules, module{Path: "the Go standard library", Version: goVersion, Dir: goroot})
	var list, texts bytes.Buffer
	var problems []error
	for _, m := range modules {
		files, err := licenceFiles(m.Dir)
		if err != nil {
			return err
		}
		var kinds []string
		for _, file := range files {
			text, err := os.ReadFile(filepath.Join(m.Dir, file))
			if err != nil {
				return err
			}
			if kind := kindOf(text); kind != "" && !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
			fmt.Fprintf(&texts, "\n%s\n%s %s: %s\n%s\n\n%s\n", strings.Repeat("=", 100), m.Path, m.Version, file, strings.Repeat("=", 100), bytes.TrimSpace(text))
		}
		if len(kinds) == 0 {
			problems = append(problems, fmt.Errorf("%s %s: no licence that is known here, in %v", m.Path, m.Version, files))
		}
		fmt.Fprintf(&list, "%-70s %-45s %s\n", m.Path, m.Version, strings.Join(kinds, ", "))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	all := "What is linked into the binaries of the AISIX AI Gateway, and under which licence. The texts follow.\n\n" + list.String() + texts.String()
	return os.WriteFile(filepath.Join(r.out, "THIRD_PARTY_LICENSES"), []byte(all), 0o644)
}

// modules are those of any binary, on any platform.
func (r *release) modules(ctx context.Context) ([]module, error) {
	found := map[string]module{}
	for _, arch := range platforms {
		args := []string{"list", "-deps", "-json=Module"}
		for _, name := range names() {
			args = append(args, "./cmd/"+name)
		}
		out, err := r.say(ctx, r.root, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOFLAGS="}, "go", args...)
		if err != nil {
			return nil, err
		}
		for d := json.NewDecoder(strings.NewReader(out)); ; {
			var p struct{ Module *module }
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			if p.Module != nil && !p.Module.Main {
				found[p.Module.Path] = *p.Module
			}
		}
	}
	var all []module
	for _, m := range found {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	if len(all) == 0 {
		return nil, errors.New("nothing is linked in: that cannot be")
	}
	return all, nil
}

var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([-._].*)?$`)

func licenceFiles(dir string) (files []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && licenceName.MatchString(e.Name()) && !strings.HasSuffix(e.Name(), ".go") {
			files = append(files, e.Name())
		}
	}
	return files, nil
}

// kinds are the licences that are known to be fine to pass on, by words that only they have.
var kinds = []struct {
	name  string
	words []string
}{
	{"Apache-2.0", []string{"Apache License", "Version 2.0"}},
	{"MPL-2.0", []string{"Mozilla Public License", "2.0"}},
	{"MIT", []string{"Permission is hereby granted, free of charge"}},
	{"BSD-3-Clause", []string{"Redistribution and use in source and binary forms", "endorse or promote"}},
	{"BSD-2-Clause", []string{"Redistribution and use in source and binary forms"}},
	{"ISC", []string{"Permission to use, copy, modify, and/or distribute this software"}},
	{"ISC", []string{"Permission to use, copy, modify, and distribute this software"}},
}

func kindOf(text []byte) string {
	flat := strings.Join(strings.Fields(string(text)), " ")
	for _, k := range kinds {
		if !slices.ContainsFunc(k.words, func(w string) bool { return !strings.Contains(flat, w) }) {
			return k.name
		}
	}
	return ""
}
