package resource

import (
	"runtime"
	"strings"
	"testing"
)

// A request may set additionalModelRequestFields where its model lets it: one that
// is deep costs no more than a flat one.
func TestDecodeOverrideOfADeepBody(t *testing.T) {
	const levels = 60
	name := strings.Repeat("n", 100)
	raw := strings.Repeat(`{"`+name+`":`, levels) + "[" + strings.Repeat("1,", 50_000) + "1]" + strings.Repeat("}", levels)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := DecodeOverride("additionalModelRequestFields", []byte(raw)); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 { // a pointer for each value: 330 MB
		t.Errorf("%d bytes for a body of %d", n, len(raw))
	}
}

// The pointer of what is wrong deep inside names every level.
func TestPointerOfAMemberThatStandsTwice(t *testing.T) {
	_, err := DecodeOverride("additionalModelRequestFields", []byte(`{"a":[{},[1,{"x/y":{"b":1,"b":2}}]]}`))
	if got, want := err.Error(), "/additionalModelRequestFields/a/1/1/x~1y/b: duplicate member"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
