package sim

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// placeRow is where some models are spoken to: on which host, by which APIs, behind which prefix.
type placeRow struct {
	Host    string   `json:"host"`
	APIs    []api    `json:"apis"`
	Prefix  string   `json:"prefix"`  // mantle's: /v1, /openai/v1 or /anthropic/v1
	Profile bool     `json:"profile"` // only by an inference profile
	Absent  bool     `json:"absent"`  // not on this host
	Models  pattern  `json:"models"`
	Except  pattern  `json:"except"`
	IDs     []string `json:"ids"` // those that GET /v1/models lists
	AsOf    string   `json:"as_of"`
	Source  string   `json:"source"`
}

// rows are the places of a model on a host.
func (m model) rows(host string) (rows []placeRow) {
	for _, p := range table.Places {
		if p.Host == host && !p.Absent && m.matches(p.Models, p.Except) {
			rows = append(rows, p)
		}
	}
	return rows
}

// absent reports whether the runtime host does not know the model: it is mantle's alone, or the id is
// as mantle has it.
func (m model) absent() bool {
	for _, p := range table.Places {
		if p.Host == runtimeHost && p.Absent && m.publisher != "" && m.matches(p.Models, p.Except) {
			return true
		}
	}
	return false
}

// resolveBody finds the model that a body names, for a door on a host; where only the model can tell
// the host, it tells that too.
func resolveBody(d door, prefix, host, id, region string) (model, string, *fault) {
	if host == "" {
		// Both hosts have the path: the one that has the model, and the runtime host where both do.
		for _, h := range []string{runtimeHost, mantleHost} {
			if m, _, f := resolveBody(d, prefix, h, id, region); f == nil {
				return m, h, nil
			}
		}
		host = runtimeHost
	}
	if host == mantleHost {
		m, f := resolveMantle(d, prefix, id)
		return m, host, f
	}
	m, f := resolveRuntime(d, id, region)
	return m, host, f
}

// resolveMantle: ids are bare there, without a geography, a version or an ARN.
func resolveMantle(d door, prefix, id string) (model, *fault) {
	m := model{id: id}
	m.publisher, m.name = named(id)
	rows := m.rows(mantleHost)
	if m.publisher == "" || m.publisher+"."+m.name != id || len(rows) == 0 || strings.Contains(id, "nonexistent") {
		if d.api == apiMessages || d.api == apiCountClaude {
			return m, &fault{status: http.StatusNotFound, kind: "ResourceNotFoundException", message: "model: " + id}
		}
		return m, &fault{status: http.StatusNotFound, kind: "ResourceNotFoundException", message: "The model '" + id + "' does not exist"}
	}
	// In the service's words: NousResearch/hermes-agent issue 52316; enricoros/big-AGI pull request 1167.
	if d.api == apiChat || d.api == apiResponses {
		if !slices.ContainsFunc(rows, func(p placeRow) bool { return p.Prefix == prefix }) {
			f := invalid("model `%s` isn't supported on this route", id)
			f.code = "validation_error"
			return m, f
		}
	}
	if !slices.ContainsFunc(rows, func(p placeRow) bool { return slices.Contains(p.APIs, d.api) }) {
		return m, unsupportedAPI(d, prefix, id)
	}
	return m, nil
}

func unsupportedAPI(d door, prefix, id string) *fault {
	return invalid("The model '%s' does not support the '%s/%s' API", id, prefix, d.operation)
}

// resolveRuntime: ids and ARNs are those of Converse.
func resolveRuntime(d door, id, region string) (model, *fault) {
	m, f := resolve(url.PathEscape(id), region)
	if f != nil || m.absent() {
		return m, &fault{status: http.StatusNotFound, kind: "ResourceNotFoundException", message: "The model '" + id + "' does not exist"}
	}
	if strings.Contains(id, ":application-inference-profile/") && d.api == apiResponses {
		return m, invalid("Application inference profiles are not supported by the Responses API.")
	}
	if m.publisher == "" {
		return m, nil // an ARN that does not show its model
	}
	for _, p := range m.rows(runtimeHost) {
		if !slices.Contains(p.APIs, d.api) {
			continue
		}
		if p.Profile && m.publisher+"."+m.name == id {
			return m, invalid("Invocation of model ID %s with on-demand throughput isn’t supported. Retry your request with the ID or ARN of an inference profile that contains this model.", id)
		}
		return m, nil
	}
	return m, unsupportedAPI(d, "/openai/v1", id)
}

// began is when the simulator's models were made, as GET /v1/models says.
var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// listModels answers GET /v1/models, in OpenAI's shape.
func (v *visit) listModels() {
	models := []any{}
	for _, p := range table.Places {
		if p.Host != mantleHost {
			continue
		}
		for _, id := range p.IDs {
			owner, _, _ := strings.Cut(id, ".")
			models = append(models, object{"id": id, "object": "model", "created": began.Unix(), "owned_by": owner, "status": "available"})
		}
	}
	writeJSON(v.w, http.StatusOK, object{"object": "list", "data": models})
}
