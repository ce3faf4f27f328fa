package bedrock

import (
	"net/url"

	"github.com/aws/smithy-go/encoding/httpbinding"
)

// operation is one of those that Bedrock is asked for an answer by.
type operation int

const (
	opConverse operation = iota
	opConverseStream
	opInvoke
	opInvokeStream
	opCountTokens
	opMessages
	opMessagesCount
	opChat
	opResponses
	operations // how many there are
)

// modelPaths are of the operations that name the model in their path, behind its id.
var modelPaths = [...]string{opConverse: "/converse", opConverseStream: "/converse-stream", opInvoke: "/invoke", opInvokeStream: "/invoke-with-response-stream"}

// operationOf is how an API is asked, whole or for a stream.
func operationOf(a api, stream bool) operation {
	var op operation
	switch a {
	case apiConverse:
		op = opConverse
	case apiInvoke:
		op = opInvoke
	case apiMessages: // of the others the body says whether it is a stream
		return opMessages
	case apiChat:
		return opChat
	default:
		return opResponses
	}
	if stream {
		op++
	}
	return op
}

// address is where an operation of one model is asked for. It is the same for all calls,
// so that it is made once.
type address struct {
	url       *url.URL // Path is decoded, RawPath as it goes out
	path      string   // as it goes out
	canonical string   // as it is signed: escaped once more
}

// addresses are those of the model's operations at base. In the path of Converse and
// InvokeModel the id is one segment, by the binding of the SDK: all is escaped but A-Z a-z
// 0-9 - . _ ~.
func (c *Model) addresses(base *url.URL) (out [operations]address) {
	for op, suffix := range modelPaths {
		out[op] = modelAddress(base, c.ID, suffix)
	}
	// CountTokens knows models by their own ids alone: it refuses those of inference profiles.
	// (Boise-State-Development/agentcore-public-stack pull request 430)
	out[opCountTokens] = modelAddress(base, baseID(c.ID, c.Publisher), "/count-tokens")
	prefix := "/openai/v1" // bedrock-runtime's
	if c.host == mantleHost {
		prefix = or(c.family.MantlePath, "/v1")
	}
	for op, path := range map[operation]string{opMessages: messagesPath, opMessagesCount: messagesPath + "/count_tokens", opChat: prefix + "/chat/completions", opResponses: prefix + "/responses"} {
		out[op] = addressOf(base, path, path)
	}
	return out
}

const messagesPath = "/anthropic/v1/messages"

func modelAddress(base *url.URL, id, suffix string) address {
	return addressOf(base, "/model/"+id+suffix, "/model/"+httpbinding.EscapePath(id, true)+suffix)
}

func addressOf(base *url.URL, decoded, escaped string) address {
	u := &url.URL{Scheme: base.Scheme, Host: base.Host, Path: base.Path + decoded, RawPath: base.EscapedPath() + escaped}
	path := u.EscapedPath()
	return address{url: u, path: path, canonical: httpbinding.EscapePath(path, false)}
}
