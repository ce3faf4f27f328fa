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
	operations // how many there are
)

var operationPaths = [operations]string{"/converse", "/converse-stream", "/invoke", "/invoke-with-response-stream"}

func operationOf(invokes, stream bool) operation {
	op := opConverse
	if invokes {
		op = opInvoke
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

// addresses are those of the model's operations, by the binding of the SDK: the id is one
// segment, in which all is escaped but A-Z a-z 0-9 - . _ ~.
func addresses(base *url.URL, id string) (out [operations]address) {
	for op, suffix := range operationPaths {
		u := &url.URL{
			Scheme: base.Scheme, Host: base.Host,
			Path:    base.Path + "/model/" + id + suffix,
			RawPath: base.EscapedPath() + "/model/" + httpbinding.EscapePath(id, true) + suffix,
		}
		path := u.EscapedPath()
		out[op] = address{url: u, path: path, canonical: httpbinding.EscapePath(path, false)}
	}
	return out
}
