package bedrock

import (
	"slices"

	"aisix/admin/resource"
	"aisix/extproc/chat"
)

// api is the upstream API that a call is made by.
type api int

// The upstream APIs. Messages on bedrock-runtime is InvokeModel.
const (
	apiConverse  api = iota
	apiInvoke        // InvokeModel, with Anthropic's body
	apiMessages      // Anthropic's Messages, on bedrock-mantle
	apiChat          // OpenAI's Chat Completions
	apiResponses     // OpenAI's Responses
)

// apiNames are as in a model resource and in families.json.
var apiNames = []string{"converse", "invoke", "messages", "chat", "responses"}

func (a api) String() string { return apiNames[a] }

// anthropic reports whether the body is Anthropic's.
func (a api) anthropic() bool { return a == apiInvoke || a == apiMessages }

// sse reports whether a stream is server-sent events, and not AWS's frames.
func (a api) sse() bool { return a >= apiMessages }

// host is one of AWS's hosts that answer for models.
type host int

const (
	runtimeHost host = iota // bedrock-runtime
	mantleHost              // bedrock-mantle
	hosts                   // how many there are
)

// API is the format of the model's requests and answers, as far as a caller may speak
// it: "" where that is Converse's.
func (m *Model) API() chat.API {
	switch m.api {
	case apiInvoke, apiMessages:
		return chat.Messages
	case apiChat:
		return chat.Completions
	case apiResponses:
		return chat.Responses
	}
	return ""
}

// settleAPI finds by which API, on which host, the model is asked: as its resource says,
// else as is known of the id, else Claude by InvokeModel and all others by Converse.
// What a host does not have admin has refused, where a resource says it.
func (c *Model) settleAPI(m *resource.Model, known *family) {
	claude := c.Publisher == "anthropic"
	name, at := m.API, m.Host
	if at == "" && (name == "" || name != "converse" && name != "invoke") {
		at = known.Host
	}
	if at == "" && name == "messages" {
		at = "mantle"
	}
	if at == "mantle" {
		c.host = mantleHost
	}
	if name == "" && (known.Host == at || known.Host == "") {
		name = known.API
	}
	switch {
	case name == "messages" && c.host == runtimeHost:
		name = "invoke"
	case name != "":
	case c.host == mantleHost && claude:
		name = "messages"
	case c.host == mantleHost:
		name = "chat"
	case claude:
		name = "invoke"
	default:
		name = "converse"
	}
	c.api = api(slices.Index(apiNames, name))
}

// apiOf is the API that r is asked by: the model's, but for Claude's requests with a
// document that InvokeModel has no place for, wherever in the conversation it stands.
func (m *Model) apiOf(r *chat.Request) api {
	if m.api != apiInvoke {
		return m.api
	}
	for _, message := range r.Messages {
		if m.converseOnly(message.Blocks) {
			return apiConverse
		}
	}
	return apiInvoke
}
