package bedrock

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"

	"aisix/extproc/chat"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/schemas"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/aws/smithy-go/transport/http/protocol/restjson1"
)

// This file and writejson.go alone know how the SDK's types become bytes and back:
// through the service's exported schemas and the restJson1 protocol (bedrockruntime ≥
// v1.63.0). plain.go reads the usual frames and answers without them; what it does not
// read comes here.

var converseSchema = smithy.NewOperationSchema(schemas.Converse, schemas.ConverseRequest, schemas.ConverseResponse)

// whole encodes and decodes HTTP messages; it holds no state of one (its event
// codec does: each stream has its own protocol value).
var whole = restjson1.New(schemas.AmazonBedrockFrontendService)

// wireRequest is a serialized operation: what goes out beside its address and signature.
type wireRequest struct {
	header []Field // in the order of names
	body   []byte
	asCame bool // it is the caller's own, and so is to be the answer
}

// converseHeader is all that Converse has.
var converseHeader = []Field{{Key: "content-type", Value: contentType}}

// serialize encodes the input of Converse or ConverseStream that was made of r.
func serialize(in smithy.Serializable, r *chat.Request) wireRequest {
	w := jsonWriter{b: make([]byte, 0, r.Room())}
	for i := range r.Messages {
		w.expect(r.Messages[i].Blocks)
	}
	in.Serialize(&w)
	return wireRequest{header: converseHeader, body: w.b}
}

// deserialize decodes a 2xx reply into out, which has no members that are headers.
func deserialize(op *smithy.OperationSchema, body []byte, out smithy.Deserializable) error {
	return whole.DeserializeResponse(context.Background(), op, bedrockruntime.TypeRegistry, &smithyhttp.Response{Response: &http.Response{
		StatusCode:    http.StatusOK,
		Header:        http.Header{"Content-Type": {contentType}},
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)),
	}}, out)
}

// toolInputs are the inputs of a whole reply's tool uses by block, as the model
// wrote them: the SDK's document sorts keys and escapes <, > and &, which a
// stream's fragments do not suffer.
func toolInputs(body []byte) []json.RawMessage {
	var reply struct {
		Output struct {
			Message struct {
				Content []struct {
					ToolUse struct {
						Input json.RawMessage `json:"input"`
					} `json:"toolUse"`
				} `json:"content"`
			} `json:"message"`
		} `json:"output"`
	}
	if json.Unmarshal(body, &reply) != nil {
		return nil
	}
	inputs := make([]json.RawMessage, len(reply.Output.Message.Content))
	for i, b := range reply.Output.Message.Content {
		inputs[i] = b.ToolUse.Input
	}
	return inputs
}

// eventCodec decodes the frames of one stream; not for concurrent use.
type eventCodec struct {
	protocol *restjson1.Protocol
	schema   *smithy.Schema
}

func newEventCodec(schema *smithy.Schema) *eventCodec {
	return &eventCodec{protocol: restjson1.New(schemas.AmazonBedrockFrontendService), schema: schema}
}

// decode turns one whole frame, its checksums included, into the SDK's event.
// Exceptions come back as errors (smithy.APIError).
func (c *eventCodec) decode(frame []byte) (any, error) {
	return c.protocol.DeserializeEventMessage(c.schema, bedrockruntime.TypeRegistry, bytes.NewReader(frame))
}
