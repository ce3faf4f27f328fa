package main

import (
	"aisix/cmd/internal/config"
	"aisix/extproc"
)

// The shares of memory. A call that waits for its body takes 45 kB here. To
// translate a body of many small values takes up to 120 times its size for a
// moment: half of the memory is for that.
const (
	perCall      = 256 << 10
	mostCalls    = 8192 // below Envoy's 10,000: the answer to one more is ours
	leastCalls   = 64
	mostBuffered = 2 << 30
	translation  = 256
	leastWork    = 1 << 20
)

// boundsOf is what the configuration says, and what follows from the memory where
// it does not.
func boundsOf(c *config.Config, memory int64) extproc.Config {
	b := extproc.Config{
		MaxBodyBytes:  int64(c.Proxy.MaxBodyBytes),
		KeepAlive:     c.Timeouts.KeepAlive,
		Timeout:       c.Timeouts.Call,
		StreamTimeout: c.Timeouts.StreamGap,

		MaxCalls:         int64(c.Extproc.MaxCalls),
		CallsPerKey:      int64(c.Extproc.MaxCallsPerKey),
		MaxBufferedBytes: int64(c.Extproc.MaxBufferedBytes),
		MaxTranslating:   max(memory/translation, leastWork),

		EnvoyReconnects: c.Upstream.CountInEnvoy, // see package bootstrap

		MaxDelay: c.Extproc.MaxDelay,

		MinBodyRate: int64(c.Proxy.MinBodyRate),
		BodyWindow:  c.Timeouts.Body,
	}
	if b.MaxCalls == 0 {
		b.MaxCalls = min(max(memory/perCall, leastCalls), mostCalls)
	}
	if b.CallsPerKey == 0 {
		b.CallsPerKey = b.MaxCalls / 2
	}
	if b.MaxBufferedBytes == 0 {
		b.MaxBufferedBytes = max(min(memory/4, mostBuffered), 4*b.MaxBodyBytes)
	}
	return b
}
