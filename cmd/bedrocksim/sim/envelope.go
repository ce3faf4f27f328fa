package sim

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// AWS writes a fault as Smithy does, Anthropic and OpenAI have envelopes of their own, and mantle speaks
// those two. The runtime host speaks OpenAI's on its OpenAI paths, but for who may come in at all, which
// its front end answers as for any other path.

// meaning is what a kind of AWS's is in the two other APIs. Statuses are those of the APIs' own pages
// on errors; of mantle's own, only 400 validation_error, 401 invalid_api_key and 404 were seen in public.
type meaning struct {
	claude       string
	claudeStatus int
	openai, code string
	openaiStatus int
}

var meanings = map[string]meaning{
	"ValidationException":                 {"invalid_request_error", 400, "invalid_request_error", "validation_error", 400},
	"RequestTooLarge":                     {"request_too_large", 413, "invalid_request_error", "request_too_large", 413},
	"ThrottlingException":                 {"rate_limit_error", 429, "rate_limit_error", "rate_limit_exceeded", 429},
	"ServiceQuotaExceededException":       {"rate_limit_error", 429, "insufficient_quota", "insufficient_quota", 429},
	"AccessDeniedException":               {"permission_error", 403, "permission_error", "access_denied", 403},
	"ExpiredTokenException":               {"authentication_error", 401, "invalid_request_error", "expired_token", 401},
	"UnrecognizedClientException":         {"authentication_error", 401, "invalid_request_error", "invalid_api_key", 401},
	"MissingAuthenticationTokenException": {"authentication_error", 401, "invalid_request_error", "missing_authentication", 401},
	"IncompleteSignatureException":        {"permission_error", 403, "permission_error", "invalid_signature", 403},
	"InvalidSignatureException":           {"permission_error", 403, "permission_error", "invalid_signature", 403},
	"ResourceNotFoundException":           {"not_found_error", 404, "invalid_request_error", "model_not_found", 404},
	"UnknownOperationException":           {"not_found_error", 404, "invalid_request_error", "not_found", 404},
	"ModelTimeoutException":               {"timeout_error", 504, "server_error", "timeout", 504},
	"ModelErrorException":                 {"api_error", 500, "server_error", "server_error", 500},
	"ModelStreamErrorException":           {"api_error", 500, "server_error", "server_error", 500},
	"ModelNotReadyException":              {"overloaded_error", 529, "server_error", "server_is_overloaded", 503},
	"ServiceUnavailableException":         {"overloaded_error", 529, "server_error", "server_is_overloaded", 503},
	"InternalServerException":             {"api_error", 500, "server_error", "server_error", 500},
}

func (f *fault) meaning() meaning {
	if m, ok := meanings[f.kind]; ok {
		return m
	}
	return meanings["InternalServerException"]
}

// claudeBody is a fault in Anthropic's envelope; it goes into streams too.
func (f *fault) claudeBody(requestID string) object {
	return object{"type": "error", "error": object{"type": f.meaning().claude, "message": f.message}, "request_id": requestID}
}

// writeClaude answers as Anthropic does.
func (f *fault) writeClaude(w http.ResponseWriter, requestID string) {
	writeJSON(w, f.meaning().claudeStatus, f.claudeBody(requestID))
}

// openaiError is the error in OpenAI's envelope, which Responses has in its failed responses as well.
func (f *fault) openaiError() object {
	m := f.meaning()
	message, code, param := f.message, or(f.code, m.code), orNull(f.param)
	if f.path != "" {
		at := openaiPath(f.path)
		param = at
		switch says := strings.TrimPrefix(f.message, f.path+": "); says {
		// OpenAI's own words for its commonest refusals.
		case "Extra inputs are not permitted":
			message, code = fmt.Sprintf("Unknown parameter: '%s'.", at), "unknown_parameter"
		case "Field required":
			message, code = fmt.Sprintf("Missing required parameter: '%s'.", at), "missing_required_parameter"
		default:
			message = fmt.Sprintf("Invalid value for '%s': %s", at, says)
			code = or(f.code, "invalid_value")
		}
	}
	return object{"message": message, "type": m.openai, "param": param, "code": code}
}

func (f *fault) writeOpenAI(w http.ResponseWriter) {
	writeJSON(w, f.meaning().openaiStatus, object{"error": f.openaiError()})
}

var listIndex = regexp.MustCompile(`\.(\d+)`)

// openaiPath writes messages.0.content as OpenAI does.
func openaiPath(path string) string { return listIndex.ReplaceAllString(path, "[$1]") }
