// Command shipped writes the configuration of Envoy that ships below deploy, as package
// envoy makes it. make generate runs it at the root of the repository.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"aisix/envoy"
)

func main() {
	if err := write("deploy"); err != nil {
		fmt.Fprintln(os.Stderr, "shipped:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	files, err := envoy.Shipped()
	if err != nil {
		return err
	}
	for name, b := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
