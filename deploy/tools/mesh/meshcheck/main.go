// Command meshcheck holds the manifests of deploy/attach against the meshes that they are for.
//
//	meshcheck schema FILE…          each document against the CRDs of Gateway API, Envoy Gateway or Istio
//	meshcheck istio PROXY FILE…     Envoy's start file as Istio makes it of the documents, for a proxy:
//	                                "gateway" or "sidecar"
//
// It is a module of its own, since what it needs is larger than the gateway: `make mesh-tools` builds
// it, and Envoy Gateway itself, into .tools; cmd/internal/mesh runs both.
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "meshcheck:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) > 1 && args[0] == "schema":
		return schema(args[1:])
	case len(args) > 2 && args[0] == "istio":
		bootstrap, err := istio(args[1], args[2:])
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(bootstrap)
		return err
	}
	return errors.New("want: schema FILE… or istio gateway|sidecar FILE…")
}
