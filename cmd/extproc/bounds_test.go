package main

import (
	"testing"

	"aisix/cmd/internal/config"
)

func TestBoundsFollowTheMemory(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		memory                               int64
		calls, perKey, buffered, translating int64
	}{
		{32 * mib, 128, 64, 40 * mib, mib}, // a body of the largest size still has room
		{512 * mib, 2048, 1024, 128 * mib, 2 * mib},
		{2048 * mib, 8192, 4096, 512 * mib, 8 * mib},
		{1 << 40, 8192, 4096, 2048 * mib, 4096 * mib},
	} {
		b := boundsOf(config.Default(), test.memory)
		if b.MaxCalls != test.calls || b.CallsPerKey != test.perKey || b.MaxBufferedBytes != test.buffered || b.MaxTranslating != test.translating {
			t.Errorf("%d MiB: %+v, want %+v", test.memory/mib, b, test)
		}
	}
	c := config.Default()
	c.Extproc.MaxCalls, c.Extproc.MaxCallsPerKey, c.Extproc.MaxBufferedBytes = 10, 3, 1<<30
	if b := boundsOf(c, 512*mib); b.MaxCalls != 10 || b.CallsPerKey != 3 || b.MaxBufferedBytes != 1<<30 {
		t.Errorf("%+v", b)
	}
}
