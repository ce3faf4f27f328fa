// Package egress is an HTTP client whose requests leave by Envoy's egress listener: the way of
// the upstream calls that are not the caller's own request going on, such as the second of a
// batch, or the next try after one that failed.
//
// It names the upstream in the headers that lead out (package exchange has them); name look-ups, TLS,
// connections to upstreams and their statistics are Envoy's. It knows nothing of models, and tries nothing
// twice, follows no redirect, unpacks nothing. extproc makes one client, and puts a face of its
// own on it.
package egress
