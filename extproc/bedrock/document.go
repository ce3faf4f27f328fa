package bedrock

import (
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/document"
)

// rawDocument is JSON that goes out byte for byte. The SDK's own document
// marshaler would turn a json.Number into a string and lose the order of keys;
// embedding its interface satisfies the unexported method.
type rawDocument struct {
	document.Interface
	raw json.RawMessage
}

func newDocument(raw json.RawMessage) document.Interface {
	return rawDocument{Interface: noDocument, raw: raw}
}

var noDocument = document.NewLazyDocument(nil)

func (d rawDocument) MarshalSmithyDocument() ([]byte, error) { return d.raw, nil }
