package extproc_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/extproc"
	"aisix/extproc/exchange/exchangetest"
)

// What is listed can be asked for by the name under which it stands, wildcard
// aliases included.
func TestModels(t *testing.T) {
	hash := sha256.Sum256([]byte(plaintext))
	model := func(alias string) snapshot.Row {
		return snapshot.Row{ID: alias, CreatedAt: time.Unix(1700000000, 0), Value: &resource.Model{DisplayName: alias, ModelName: "amazon.nova-pro-v1:0", ProviderKeyID: "p"}}
	}
	holder := holderOf(t,
		snapshot.Row{ID: "p", Value: &resource.ProviderKey{DisplayName: "p", Provider: "amazon-bedrock", Adapter: "bedrock"}},
		model("nova"), model("nova-*"), model("hidden"), model("team/x"),
		snapshot.Row{ID: "k", Value: &resource.APIKey{KeyHash: hex.EncodeToString(hash[:]), AllowedModels: []string{"nova*", "team/x"}}})
	const notFound = `{"error":{"message":"the model does not exist, or this API key may not use it","type":"model_not_found","code":null,"param":"model"}}`
	object := func(id string) string {
		return `{"id":"` + id + `","object":"model","created":1700000000,"owned_by":"amazon-bedrock"}`
	}
	for path, want := range map[string]string{
		"/v1/models":          `{"object":"list","data":[` + object("nova") + `,` + object("nova-*") + `,` + object("team/x") + `]}`,
		"/v1/models/nova":     object("nova"),
		"/v1/models/nova-pro": object("nova-pro"),
		"/v1/models/nova-*":   object("nova-*"),
		"/v1/models/nova-%2A": object("nova-*"),
		"/v1/models/team%2Fx": object("team/x"),
		"/v1/models/hidden":   notFound,
		"/v1/models/unheard":  notFound,
		"/v1/models/%zz":      notFound,
	} {
		s := extproc.New(extproc.Parts{Config: extproc.Config{MaxBodyBytes: 1 << 20, Timeout: time.Minute, StreamTimeout: time.Minute},
			Snapshots: holder, Limiter: noLimits{t}, Recorder: new(recorded)})
		answer := exchangetest.Envoy{Method: http.MethodGet, Path: path, Header: http.Header{"Authorization": {"Bearer " + plaintext}}}.Run(t.Context(), t, s.Process)
		status := http.StatusOK
		if want == notFound {
			status = http.StatusNotFound
		}
		if answer.Status != status || string(answer.Body) != want {
			t.Errorf("%s: %d %s, want %s", path, answer.Status, answer.Body, want)
		}
	}
}
