package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// What admin wrote is in force at the proxy within 500 ms: a new key, a changed one, one that is
// gone. Not parallel: it measures.
func TestInForceWithin500ms(t *testing.T) {
	g := shared(t)
	c := g.tenant(t, newUpstream(t, nil).URL, settings{})
	path := "/admin/v1/apikeys/" + c.keyID
	within := func(what string, status int) {
		t.Helper()
		written := time.Now()
		eventually(t, patience, func() error {
			a, err := do(t.Context(), http.MethodGet, c.proxy+"/v1/models", c.key, "")
			if err == nil && a.status != status {
				err = fmt.Errorf("%s: %d, want %d", what, a.status, status)
			}
			return err
		})
		if took := time.Since(written); took > 500*time.Millisecond {
			t.Errorf("%s took %v to be in force", what, took)
		}
	}
	write := func(method string, value any) {
		t.Helper()
		a, err := g.manage(t.Context(), method, path, value)
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("%s: %d %s, %v", method, a.status, a.body, err)
		}
	}
	for range 5 {
		write(http.MethodPatch, map[string]any{"disabled": true})
		within("disabled", http.StatusUnauthorized)
		write(http.MethodPatch, map[string]any{"disabled": false})
		within("enabled again", http.StatusOK)
	}
	write(http.MethodDelete, nil)
	within("deleted", http.StatusUnauthorized)
}
