package sim

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
)

// invokeHeaders are what InvokeModel takes beside the body.
var invokeHeaders = map[string]check{
	"X-Amzn-Bedrock-Guardrailidentifier":       guardrail["guardrailIdentifier"],
	"X-Amzn-Bedrock-Guardrailversion":          guardrail["guardrailVersion"],
	"X-Amzn-Bedrock-Trace":                     enum("ENABLED", "DISABLED", "ENABLED_FULL"),
	"X-Amzn-Bedrock-Performanceconfig-Latency": enum("standard", "optimized"),
	"X-Amzn-Bedrock-Service-Tier":              enum("priority", "default", "flex", "reserved"),
	"X-Amzn-Bedrock-Projectidentifier":         text(1, 2048, project),
	"X-Amzn-Bedrock-Request-Metadata":          requestMetadata,
}

// checkInvokeHeaders looks at the first value of each, as the service's model has no lists here. The
// values of trace are in capitals here and small in Converse; both are AWS's.
func checkInvokeHeaders(h http.Header) *fault {
	for _, name := range slices.Sorted(maps.Keys(invokeHeaders)) {
		if values := h.Values(name); len(values) > 0 {
			if f := invokeHeaders[name](name, values[0]); f != nil {
				return f
			}
		}
	}
	// As in Converse: one without the other names no guardrail.
	if (h.Get("X-Amzn-Bedrock-Guardrailidentifier") == "") != (h.Get("X-Amzn-Bedrock-Guardrailversion") == "") {
		return invalid("guardrailIdentifier and guardrailVersion must both be set.")
	}
	return nil
}

// requestMetadata checks the header's JSON, which is Converse's member of that name.
func requestMetadata(path string, v any) *fault {
	if f := text(0, 8500, "")(path, v); f != nil {
		return f
	}
	var o object
	if json.Unmarshal([]byte(v.(string)), &o) != nil {
		return at(path, "Input should be a JSON object")
	}
	return mapOf(1, 16, text(1, 256, metaChars), text(0, 256, metaChars))(path, o)
}
