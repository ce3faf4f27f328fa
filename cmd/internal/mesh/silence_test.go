package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// egressSocket is where a cell's Envoy has its egress listener, if it is given one.
func (a *attachment) egressSocket() string { return filepath.Join(a.dir, "egress.sock") }

// silentTarget is a model whose first target says nothing: the next one answers, by the egress
// listener that the page says how to add, whichever way bodies come.
var silentTarget = check{"a silent target", func(t *testing.T, a *attachment, c *caller) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // else nobody tells that the request has ended
		<-r.Context().Done()
	}))
	defer silent.Close()
	var targets []any
	for i, base := range []string{silent.URL, a.bedrock.URL} {
		name := []string{"silent", "well"}[i]
		key := a.create(t, "provider_keys", map[string]any{"display_name": c.plain + name, "api_base": base,
			"secret": `{"access_key_id":"YOUR_AWS_ACCESS_KEY_ID","secret_access_key":"YOUR_AWS_SECRET_ACCESS_KEY","region":"us-west-2"}`})
		targets = append(targets, map[string]any{"name": name, "provider_key_id": key, "model_name": "amazon.nova-pro-v1:0", "priority": i})
	}
	alias, key := c.plain+"-silent", c.key+"-silent"
	a.create(t, "models", map[string]any{"display_name": alias, "targets": targets, "routing": map[string]any{"first_byte_timeout": 200}})
	hash := sha256.Sum256([]byte(key))
	a.create(t, "apikeys", map[string]any{"key_hash": hex.EncodeToString(hash[:]), "allowed_models": []string{alias}})
	ask := func(stream bool) answer {
		return send(t, a.request(t, t.Context(), http.MethodPost, a.domain, "/v1/chat/completions", ask(alias, "Hello", stream), "Authorization", "Bearer "+key))
	}
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
		got := ask(stream)
		if got.status != 200 || stream != strings.Contains(got.body, "data: [DONE]") {
			t.Error(got)
		}
		if target, n := got.header.Get("x-aisix-target"), got.header.Get("x-aisix-attempts"); target != "well" || n != "2" {
			t.Errorf("target %q after %q attempts: %v", target, n, got)
		}
	}
}}
