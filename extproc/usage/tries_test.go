package usage

import (
	"slices"
	"testing"
)

// A call of thousands of upstream calls has a line of bearable length, and a record of all.
func TestManyTries(t *testing.T) {
	f := &Facts{RequestID: "r"}
	for range 2048 {
		*f.Try("", "p") = Try{ProviderKeyID: "p", RequestID: "aws", Status: 200}
	}
	if ids := slices.Collect(f.upstreamRequestIDs()); len(ids) != maxLogged {
		t.Errorf("%d ids in a line", len(ids))
	}
	if r := f.record(); len(r.Tries) != 2048 || r.Attempts != 2048 || r.Tries[2047].UpstreamRequestId != "aws" {
		t.Errorf("%d tries in the record", len(r.Tries))
	}
}
