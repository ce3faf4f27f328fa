package mesh

import (
	"net"
	"os"
	"testing"

	"go.yaml.in/yaml/v3"
)

// node is a mapping of a YAML file.
type node = map[string]any

func load(t *testing.T, path string) node {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m node
	if err := yaml.Unmarshal(b, &m); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return m
}

// walk visits every mapping.
func walk(v any, visit func(node)) {
	switch v := v.(type) {
	case node:
		visit(v)
		for _, e := range v {
			walk(e, visit)
		}
	case []any:
		for _, e := range v {
			walk(e, visit)
		}
	}
}

func first(list any) node { return list.([]any)[0].(node) }

// listener and manager are the one listener of a start file and its HTTP connection manager.
func listener(s node) node { return first(s["static_resources"].(node)["listeners"]) }
func manager(s node) node {
	return first(first(listener(s)["filter_chains"])["filters"])["typed_config"].(node)
}

func socketAddress(address string) node {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		panic(err)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		panic(err)
	}
	return node{"address": host, "port_value": n}
}
