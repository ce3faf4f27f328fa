package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"
)

// entry is a file or, where from is empty, a folder in a tar.
type entry struct {
	name  string // folders end in a slash
	from  string
	mode  int64
	owner int
}

// pack writes entries in their order, with nothing of this machine in it.
func pack(w io.Writer, date time.Time, entries []entry) error {
	t := tar.NewWriter(w)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Uid: e.owner, Gid: e.owner, ModTime: date, Format: tar.FormatPAX, Typeflag: tar.TypeDir}
		var content []byte
		if e.from != "" {
			var err error
			if content, err = os.ReadFile(e.from); err != nil {
				return err
			}
			h.Typeflag, h.Size = tar.TypeReg, int64(len(content))
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(content); err != nil {
			return err
		}
	}
	return t.Close()
}

// archives are for those who run the binaries as they are.
func (r *release) archives(context.Context) error {
	for _, arch := range platforms {
		folder := fmt.Sprintf("aisix-%s-linux-%s", r.version, arch)
		entries := []entry{{name: folder + "/", mode: 0o755}}
		for _, name := range names() {
			entries = append(entries, entry{path.Join(folder, name), filepath.Join(r.binaries(arch), name), 0o755, 0})
		}
		for _, file := range append(r.licensed(), filepath.Join(r.root, "deploy/config.yaml")) {
			entries = append(entries, entry{path.Join(folder, filepath.Base(file)), file, 0o644, 0})
		}
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return err
		}
		if err := pack(z, r.date, entries); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(r.out, folder+".tar.gz"), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// settle takes the time of its making out of an SBOM.
func (r *release) settle(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var sbom map[string]any
	if err := json.Unmarshal(b, &sbom); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	metadata, ok := sbom["metadata"].(map[string]any)
	if !ok {
		return fmt.Errorf("%s has no metadata", file)
	}
	metadata["timestamp"] = r.date.Format(time.RFC3339)
	if component, ok := metadata["component"].(map[string]any); ok {
		component["version"] = r.version
	}
	if b, err = json.MarshalIndent(sbom, "", " "); err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}

// checksums is SHA256SUMS, of everything else: sha256sum -c reads it.
func (r *release) checksums(context.Context) error {
	files, err := r.made()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(r.out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(content), filepath.ToSlash(name))
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), b.Bytes(), 0o644)
}
