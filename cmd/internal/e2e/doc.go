// Package e2e runs the whole gateway as it ships (admin, extproc, the simulator, the real Envoy and
// the real Valkey, a process each) and asks of it what the contract promises.
//
// It holds nothing but tests. Most share one gateway, each with an upstream, a model and an API key
// of its own; those that kill or stop a part start one for themselves.
package e2e
