package sim

import (
	"net/http"
	"slices"
	"strings"
)

// Bedrock has two hosts: bedrock-runtime.{region}.amazonaws.com and bedrock-mantle.{region}.api.aws.
// Here both are one origin, so a request tells which it means by its path, where only one has it, by
// the service that it is signed for, by its Host where that is one of theirs, and at last by its model.
// Which path is on which host: Bedrock user guide, Endpoints supported by Amazon Bedrock.
const (
	runtimeHost = "runtime"
	mantleHost  = "mantle"
)

// services are the signing names of the hosts.
var services = map[string]string{runtimeHost: "bedrock", mantleHost: "bedrock-mantle"}

// api is the shape in which a door is spoken to.
type api string

const (
	apiConverse    api = "converse"
	apiInvoke      api = "invoke"
	apiMessages    api = "messages"
	apiChat        api = "chat"
	apiResponses   api = "responses"
	apiCount       api = "count-tokens" // runtime's CountTokens
	apiCountClaude api = "count_tokens" // mantle's, of Anthropic's Messages
	apiModels      api = "models"
	apiStored      api = "stored response"
)

// door is where a request came in, as far as its path tells.
type door struct {
	operation string // as Call says it
	api       api
	method    string
	hosts     []string
	stream    bool   // in the path; elsewhere the body says it
	segment   string // the encoded model id in the path, or the id of a stored response
}

// modelDoors are the operations behind /model/{id}/.
var modelDoors = map[string]door{
	"converse": {api: apiConverse}, "converse-stream": {api: apiConverse, stream: true},
	"invoke": {api: apiInvoke}, "invoke-with-response-stream": {api: apiInvoke, stream: true},
	"count-tokens": {api: apiCount},
}

// paths are the doors whose model is in the body; of two that fit, the longer comes first.
var paths = []struct {
	path string
	door door
}{
	{"/anthropic/v1/messages/count_tokens", door{operation: "messages/count_tokens", api: apiCountClaude, hosts: []string{mantleHost}}},
	{"/anthropic/v1/messages", door{operation: "messages", api: apiMessages, hosts: []string{mantleHost}}},
	{"/openai/v1/chat/completions", door{operation: "chat/completions", api: apiChat, hosts: []string{runtimeHost, mantleHost}}},
	{"/openai/v1/responses", door{operation: "responses", api: apiResponses, hosts: []string{runtimeHost, mantleHost}}},
	{"/v1/chat/completions", door{operation: "chat/completions", api: apiChat, hosts: []string{mantleHost}}},
	{"/v1/responses", door{operation: "responses", api: apiResponses, hosts: []string{mantleHost}}},
	{"/v1/models", door{operation: "models", api: apiModels, method: http.MethodGet, hosts: []string{mantleHost}}},
}

// locate finds the door of a path. A prefix may stand before it: a private endpoint has one.
func locate(r *http.Request) (door, bool) {
	// Not the decoded path: in an ARN's segment an encoded slash is no separator.
	path := r.URL.EscapedPath()
	if i := strings.LastIndex(path, "/model/"); i >= 0 {
		segment, name, _ := strings.Cut(path[i+len("/model/"):], "/")
		d, ok := modelDoors[name]
		d.operation, d.segment, d.method, d.hosts = name, segment, http.MethodPost, []string{runtimeHost}
		return d, ok
	}
	if at, id := path[:strings.LastIndexByte(path, '/')+1], path[strings.LastIndexByte(path, '/')+1:]; strings.HasSuffix(at, "/v1/responses/") {
		d := door{operation: "responses/{id}", api: apiStored, segment: id, hosts: []string{mantleHost}}
		if strings.HasSuffix(at, "/openai/v1/responses/") {
			d.hosts = []string{runtimeHost, mantleHost}
		}
		return d, true
	}
	for _, p := range paths {
		if strings.HasSuffix(path, p.path) {
			d := p.door
			d.method = or(d.method, http.MethodPost)
			return d, true
		}
	}
	// It is somebody's who may not learn what there is: which error a caller gets is told by the signature.
	return door{hosts: []string{runtimeHost, mantleHost}}, false
}

// hostOf is the host that a Host header names, and its region; "" where it is neither's.
func hostOf(host string) (name, region string) {
	host, _, _ = strings.Cut(host, ":")
	for name, prefix := range map[string]string{runtimeHost: "bedrock-runtime.", mantleHost: "bedrock-mantle."} {
		if rest, ok := strings.CutPrefix(host, prefix); ok {
			region, _, _ = strings.Cut(rest, ".")
			return name, region
		}
	}
	return "", ""
}

// narrow leaves of a door's hosts the one that the Host header names.
func (d door) narrow(r *http.Request) []string {
	if name, _ := hostOf(r.Host); name != "" && slices.Contains(d.hosts, name) {
		return []string{name}
	}
	return d.hosts
}

// prefix is what stands before the API's own path on mantle: /v1 or /openai/v1.
func prefix(r *http.Request) string {
	if strings.Contains(r.URL.Path, "/openai/v1/") {
		return "/openai/v1"
	}
	return "/v1"
}
