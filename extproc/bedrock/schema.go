package bedrock

import (
	"bytes"
	"encoding/json"

	"aisix/extproc/fault"
)

// nativeSchema is the caller's schema as native structured output takes it.
func nativeSchema(raw json.RawMessage) (json.RawMessage, error) {
	if !json.Valid(raw) || len(bytes.TrimSpace(raw)) == 0 || bytes.TrimSpace(raw)[0] != '{' {
		return nil, fault.Invalid("response_format", "the schema must be an object")
	}
	return raw, nil
}
