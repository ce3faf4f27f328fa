package ratelimit

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/admin/resource"
)

// Every member of rate_limit is a limit of its name; absent ones are none.
func TestOf(t *testing.T) {
	want := []Limit{
		{"rps", Requests, time.Second, 1}, {"rpm", Requests, time.Minute, 2}, {"rph", Requests, time.Hour, 3}, {"rpd", Requests, 24 * time.Hour, 4},
		{"tpm", Tokens, time.Minute, 5}, {"tpd", Tokens, 24 * time.Hour, 6}, {"concurrency", Slots, 0, 7},
	}
	var all resource.RateLimit
	members := reflect.ValueOf(&all).Elem()
	if members.NumField() != len(want) {
		t.Fatalf("rate_limit has %d members, the limiter knows %d", members.NumField(), len(want))
	}
	for i := range members.NumField() {
		limit := int64(i + 1)
		members.Field(i).Set(reflect.ValueOf(&limit))
		var one resource.RateLimit
		reflect.ValueOf(&one).Elem().Field(i).Set(reflect.ValueOf(&limit))
		if d := cmp.Diff(Bucket{Scope{"model", "m"}, want[i : i+1]}, Of("model", "m", &one)); d != "" {
			t.Error(d)
		}
		if name, _, _ := strings.Cut(members.Type().Field(i).Tag.Get("json"), ","); name != want[i].Name {
			t.Errorf("member %s, limit %s", name, want[i].Name)
		}
	}
	if d := cmp.Diff(Bucket{Scope{"apikey", "a"}, want}, Of("apikey", "a", &all)); d != "" {
		t.Error(d)
	}
	for _, none := range []*resource.RateLimit{nil, {}} {
		if b := Of("apikey", "a", none); b.Limits != nil {
			t.Errorf("%v", b)
		}
	}
}
