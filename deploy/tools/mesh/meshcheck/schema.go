package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"testing/fstest"

	eg "github.com/envoyproxy/gateway"
	"istio.io/istio/manifests"
	kvalidate "sigs.k8s.io/kubectl-validate/pkg/cmd"
	"sigs.k8s.io/kubectl-validate/pkg/openapiclient"
	"sigs.k8s.io/kubectl-validate/pkg/validator"
	"sigs.k8s.io/yaml"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// schema refuses what a cluster with these CRDs would: unknown fields, wrong types, broken rules.
func schema(files []string) error {
	crds, err := crds()
	if err != nil {
		return err
	}
	v, err := validator.New(openapiclient.NewComposite(openapiclient.NewLocalCRDFiles(crds), openapiclient.NewHardcodedBuiltins("1.30")))
	if err != nil {
		return err
	}
	var all []error
	for _, file := range files {
		documents, err := split(file)
		if err != nil {
			return err
		}
		if len(documents) == 0 {
			all = append(all, fmt.Errorf("%s: no documents", file))
		}
		for i, d := range documents {
			if err := kvalidate.ValidateDocument(d, v); err != nil {
				all = append(all, fmt.Errorf("%s, document %d: %w", file, i+1, err))
			}
		}
	}
	return errors.Join(all...)
}

// crds is every CRD as a file of its own, as the validator wants it.
func crds() (fs.FS, error) {
	istio, err := fs.ReadFile(manifests.FS, "charts/base/files/crd-all.gen.yaml")
	if err != nil {
		return nil, err
	}
	files := fstest.MapFS{}
	for _, all := range [][]byte{eg.GatewayCRDs, istio} {
		r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(all)))
		for {
			d, err := r.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			var crd struct{ Kind string }
			if err := yaml.Unmarshal(d, &crd); err != nil || crd.Kind != "CustomResourceDefinition" {
				continue // a policy beside them
			}
			files[fmt.Sprintf("%d.yaml", len(files))] = &fstest.MapFile{Data: d}
		}
	}
	return files, nil
}

// split is the documents of a file, with aliases resolved, as kubectl would send them.
func split(file string) ([][]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var documents [][]byte
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(b))); ; {
		d, err := r.Read()
		if errors.Is(err, io.EOF) {
			return documents, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		var m map[string]any
		if err := yaml.UnmarshalStrict(d, &m); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if len(m) == 0 {
			continue // nothing but comments
		}
		if d, err = yaml.Marshal(m); err != nil {
			return nil, err
		}
		documents = append(documents, bytes.TrimSpace(d))
	}
}
