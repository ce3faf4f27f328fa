package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// egressSocket is where a cell's Envoy has its egress listener, if it is given one.
func (a *attachment) egressSocket() string { return filepath.Join(a.dir, "egress.sock") }

// awaitEgress waits for the listener, which a control plane may give later than others.
func (a *attachment) awaitEgress(t *testing.T) {
	t.Helper()
	eventually(t, func() error {
		c, err := net.Dial("unix", a.egressSocket())
		if err == nil {
			c.Close()
		}
		return err
	})
}

// silentTarget is a model whose first target says nothing: the next one answers, by the egress
// listener that the page says how to add, whichever way bodies come, in the clear and over TLS.
var silentTarget = check{"a silent target", func(t *testing.T, a *attachment, c *caller) {
	silent := newRecorder(t, (*httptest.Server).Start, a.loopback, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}))
	provider := func(name, base string) string {
		return a.create(t, "provider_keys", map[string]any{"display_name": name, "api_base": base,
			"secret": `{"access_key_id":"YOUR_AWS_ACCESS_KEY_ID","secret_access_key":"YOUR_AWS_SECRET_ACCESS_KEY","region":"us-west-2"}`})
	}
	says := provider(c.plain+"-silent", silent.URL)
	wells := map[string]*recorder{c.plain + "-silent": a.bedrock, c.tls + "-silent": a.tls}
	for alias, well := range wells {
		a.create(t, "models", map[string]any{"display_name": alias, "routing": map[string]any{"first_byte_timeout": 200}, "targets": []any{
			map[string]any{"name": "silent", "provider_key_id": says, "model_name": "amazon.nova-pro-v1:0"},
			map[string]any{"name": "well", "provider_key_id": provider(alias+"-well", well.URL), "model_name": "amazon.nova-pro-v1:0", "priority": 1},
		}})
	}
	key := c.key + "-silent"
	hash := sha256.Sum256([]byte(key))
	a.create(t, "apikeys", map[string]any{"key_hash": hex.EncodeToString(hash[:]), "allowed_models": slices.Collect(maps.Keys(wells))})
	for alias, well := range wells {
		eventually(t, func() error { // what was written is in force
			r, err := client.Do(a.request(t, t.Context(), http.MethodGet, a.domain, "/v1/models/"+alias, "", "Authorization", "Bearer "+key))
			if err != nil {
				return err
			}
			defer r.Body.Close()
			if r.StatusCode != http.StatusOK {
				return errors.New(r.Status)
			}
			return nil
		})
		for _, stream := range []bool{false, true} {
			well.take()
			got := send(t, a.request(t, t.Context(), http.MethodPost, a.domain, "/v1/chat/completions", ask(alias, "Hello", stream), "Authorization", "Bearer "+key))
			if got.status != 200 || stream != strings.Contains(got.body, "data: [DONE]") {
				t.Error(got)
			}
			if up := silent.take(); len(up) != 1 {
				t.Errorf("%d requests went to the silent target", len(up))
			}
			if target, n := got.header.Get("x-aisix-target"), got.header.Get("x-aisix-attempts"); target != "well" || n != "2" {
				t.Errorf("target %q after %q attempts: %v", target, n, got)
			}
			wentUp(t, a, well, c)
		}
	}
}}
