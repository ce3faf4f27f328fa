// Package mesh attaches the gateway to Envoys and meshes of somebody else's, as docs/attach.md says
// word for word, and asks the same things of each: a cell is one mesh, one Envoy, one body mode and
// one way to extproc.
//
// It holds nothing but tests. `make test` runs the cells that need nothing fetched (see quick);
// `make mesh-test` runs all whose binaries are at hand, says which it left out, and writes down what
// it ran, of which the page's table is made.
//
// A mesh of its own kind is a file <mesh>_test.go with its cells, which cells() adds: start runs the
// mesh's control plane and Envoy on what the page says to paste, and fills in the attachment; what is
// asked (checks) and what may be taken away (leaksNothing) are the same for all.
package mesh
