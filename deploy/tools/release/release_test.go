package main

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// made is a release whose binaries are there, as texts.
func made(t *testing.T) *release {
	t.Helper()
	r := &release{root: t.TempDir(), out: t.TempDir(), version: "v1.2.3", commit: "0123abc", date: time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC)}
	files := map[string]string{filepath.Join(r.root, "LICENSE"): "ours", filepath.Join(r.root, "deploy/config.yaml"): "{}", filepath.Join(r.out, "THIRD_PARTY_LICENSES"): "theirs"}
	for _, arch := range platforms {
		for name := range commands {
			files[filepath.Join(r.binaries(arch), name)] = name + " for " + arch
		}
	}
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// base is an OCI layout with an image of each platform, as a pull would leave it.
func base(t *testing.T, r *release) string {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	for _, arch := range platforms {
		image, err := random.Image(64, 2)
		if err != nil {
			t.Fatal(err)
		}
		c, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		c.OS, c.Architecture, c.Config.Env, c.Config.Cmd = "linux", arch, []string{"SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"}, []string{"sh"}
		if image, err = mutate.ConfigFile(image, c); err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: platform(arch)}})
	}
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := path.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Layouts that any engine reads: valid by their digests, of both platforms, with what the Dockerfile's have.
func TestImages(t *testing.T) {
	for _, from := range []string{"scratch", "a layout"} {
		t.Run(from, func(t *testing.T) {
			r := made(t)
			layers := 1
			if from != "scratch" {
				r.base, layers = base(t, r), 3
			}
			server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
			defer server.Close()
			repository := strings.TrimPrefix(server.URL, "http://") + "/aisix"
			if err := r.images(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := run(t.Context(), []string{"-out", r.out, "-push", repository}); err != nil {
				t.Fatal(err)
			}
			ref, err := name.ParseReference(repository + "/extproc:v1.2.3")
			if err != nil {
				t.Fatal(err)
			}
			pushed, err := remote.Index(ref)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Index(pushed); err != nil {
				t.Error(err)
			}
			top, err := layout.ImageIndexFromPath(filepath.Join(r.out, "images/extproc"))
			if err != nil {
				t.Fatal(err)
			}
			m, err := top.IndexManifest()
			if err != nil || len(m.Manifests) != 1 || m.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != "v1.2.3" {
				t.Fatalf("%+v, %v", m, err)
			}
			index, err := top.ImageIndex(m.Manifests[0].Digest)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Index(index); err != nil {
				t.Error(err)
			}
			if a, _ := index.Digest(); a != digest(t, pushed) {
				t.Errorf("another index was pushed")
			}
			images, err := index.IndexManifest()
			if err != nil || len(images.Manifests) != len(platforms) {
				t.Fatalf("%+v, %v", images, err)
			}
			for i, d := range images.Manifests {
				image, err := index.Image(d.Digest)
				if err != nil {
					t.Fatal(err)
				}
				looks(t, image, platforms[i], layers)
			}
		})
	}
}

func digest(t *testing.T, i v1.ImageIndex) v1.Hash {
	h, err := i.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func looks(t *testing.T, image v1.Image, arch string, layers int) {
	t.Helper()
	c, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c.OS != "linux" || c.Architecture != arch || c.Config.User != "65532:65532" || !slices.Equal(c.Config.Entrypoint, []string{"/usr/local/bin/extproc"}) || len(c.Config.Cmd) > 0 {
		t.Errorf("%s: %+v", arch, c.Config)
	}
	if !hasPath(c.Config.Env) || c.Config.Labels["org.opencontainers.image.revision"] != "0123abc" || c.Created.Format(time.RFC3339) != "2026-11-26T01:02:03Z" {
		t.Errorf("%s: %v, %v, %v", arch, c.Config.Env, c.Config.Labels, c.Created)
	}
	all, err := image.Layers()
	if err != nil || len(all) != layers {
		t.Fatalf("%d layers, %v", len(all), err)
	}
	text, err := all[layers-1].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*tar.Header{}
	for r := tar.NewReader(text); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		found[h.Name] = h
		if h.Name == "usr/local/bin/extproc" {
			if b, _ := io.ReadAll(r); string(b) != "extproc for "+arch {
				t.Errorf("the binary is %q", b)
			}
		}
	}
	for file, mode := range map[string]int64{"usr/local/bin/extproc": 0o755, "spool/": 0o700, "licenses/LICENSE": 0o644, "licenses/THIRD_PARTY_LICENSES": 0o644} {
		if h := found[file]; h == nil || h.Mode != mode || (file == "spool/") != (h.Uid == user) {
			t.Errorf("%s: %+v", file, h)
		}
	}
}

// What is made of the same is the same to the byte.
func TestTheSameAgain(t *testing.T) {
	sums := func() string {
		r := made(t)
		for _, step := range []func() error{func() error { return r.archives(t.Context()) }, func() error { return r.images(t.Context()) }, func() error { return r.checksums(t.Context()) }} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
		b, err := os.ReadFile(filepath.Join(r.out, "SHA256SUMS"))
		if err != nil || !bytes.Contains(b, []byte("aisix-v1.2.3-linux-arm64.tar.gz")) || !bytes.Contains(b, []byte("images/admin/index.json")) {
			t.Fatalf("%s, %v", b, err)
		}
		return string(b)
	}
	if a, b := sums(), sums(); a != b {
		t.Errorf("%s\nand then\n%s", a, b)
	}
}

func TestABaseIsNamedByItsDigest(t *testing.T) {
	r := made(t)
	r.base = "registry.example.com/base:latest"
	if err := r.images(t.Context()); err == nil || !strings.Contains(err.Error(), "by its digest") {
		t.Errorf("%v", err)
	}
}

func TestLicences(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n  Version 2.0, January 2004":                                                      "Apache-2.0",
		"Permission is hereby granted, free\nof charge, to any person":                                     "MIT",
		"Redistribution and use in source and binary\nforms ... to\nendorse or promote products":           "BSD-3-Clause",
		"Redistribution and use in source and binary forms, with or without":                               "BSD-2-Clause",
		"Mozilla Public License Version 2.0":                                                               "MPL-2.0",
		"GNU AFFERO GENERAL PUBLIC LICENSE Version 3":                                                      "",
		"Permission to use, copy, modify, and/or distribute this software for any purpose with or without": "ISC",
	} {
		if got := kindOf([]byte(text)); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
