package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// fault is an AWS error: status, type, and a message with all that AWS says in
// it, which a gateway must not pass on.
type fault struct {
	status  int
	kind    string
	message string
	extra   map[string]any // further members of the body
	path    string         // of what is wrong in the body, "" where the message has no path before it
	param   string         // OpenAI's, where the message does not begin with a path
	code    string         // OpenAI's, where the kind does not tell it
	bare    bool           // of the front end before the service: Message, and no type
}

func (f *fault) Error() string { return f.kind + ": " + f.message }

// invalid is what Bedrock says of most bad requests; there is no finer type.
func invalid(format string, args ...any) *fault {
	return &fault{status: http.StatusBadRequest, kind: "ValidationException", message: fmt.Sprintf(format, args...)}
}

// at is a violation at a path of the body.
func at(path, format string, args ...any) *fault {
	message := fmt.Sprintf(format, args...)
	if path != "" {
		message = path + ": " + message
	}
	f := invalid("%s", message)
	f.path = path
	return f
}

// body is the error's JSON.
func (f *fault) body() []byte {
	members := map[string]any{"message": f.message}
	for k, v := range f.extra {
		members[k] = v
	}
	b, _ := json.Marshal(members) // strings and numbers
	return b
}

// write answers as Smithy's restJson1 does: the type is in a header, with a namespace after a colon
// that clients cut off, and not in the body.
func (f *fault) write(w http.ResponseWriter) {
	if f.bare {
		writeJSON(w, f.status, object{"Message": f.message})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Errortype", f.kind+":http://internal.amazon.com/coral/com.amazon.bedrock/")
	w.WriteHeader(f.status)
	w.Write(f.body())
}

// The account and the user that error messages name.
const (
	account = "123456789012"
	user    = "arn:aws:iam::" + account + ":user/gateway-prod"
)

// modelARN is how AWS's messages name a model.
func modelARN(region, model string) string {
	if len(model) > 4 && model[:4] == "arn:" {
		return model
	}
	return "arn:aws:bedrock:" + region + "::foundation-model/" + model
}

// exception gives the fault that a behaviour names by its exception, in the
// spelling of the event stream (throttlingException) or of the service
// (ThrottlingException).
func exception(name, region, model string) *fault {
	arn := modelARN(region, model)
	switch upperFirst(name) {
	case "ThrottlingException":
		return &fault{status: 429, kind: "ThrottlingException", message: "Too many requests, please wait before trying again. You have sent too many requests for account " + account + " on " + arn + "."}
	case "ServiceQuotaExceededException":
		return &fault{status: 400, kind: "ServiceQuotaExceededException", message: "Too many tokens per day for account " + account + ", please wait before trying again."}
	case "AccessDeniedException":
		return &fault{status: 403, kind: "AccessDeniedException", message: "User: " + user + " is not authorized to perform: bedrock:InvokeModel on resource: " + arn + " because no identity-based policy allows the bedrock:InvokeModel action"}
	case "ExpiredTokenException":
		return &fault{status: 403, kind: "ExpiredTokenException", message: "The security token included in the request is expired"}
	case "UnrecognizedClientException":
		return &fault{status: 403, kind: "UnrecognizedClientException", message: "The security token included in the request is invalid."}
	case "ResourceNotFoundException":
		return &fault{status: 404, kind: "ResourceNotFoundException", message: "Could not resolve the foundation model from the provided model identifier: " + arn + "."}
	case "ModelTimeoutException":
		return &fault{status: 408, kind: "ModelTimeoutException", message: "Model " + arn + " has timed out in processing the request. Try your request again."}
	case "ModelErrorException":
		return &fault{status: 424, kind: "ModelErrorException", message: "The system encountered an unexpected error during processing of " + arn + ". Try your request again.", extra: map[string]any{"originalStatusCode": 500, "resourceName": arn}}
	case "ModelStreamErrorException":
		return &fault{status: 424, kind: "ModelStreamErrorException", message: "An error occurred while streaming the response of " + arn + ".", extra: map[string]any{"originalStatusCode": 500, "originalMessage": "worker i-0abc of account " + account + " went away"}}
	case "ModelNotReadyException":
		return &fault{status: 429, kind: "ModelNotReadyException", message: "The model " + arn + " is not ready for inference."}
	case "ServiceUnavailableException":
		return &fault{status: 503, kind: "ServiceUnavailableException", message: "Bedrock is unable to process your request."}
	case "ValidationException":
		return invalid("The provided request to %s by account %s is not valid.", arn, account)
	default:
		return &fault{status: 500, kind: "InternalServerException", message: "The system encountered an unexpected error during processing in account " + account + ". Try your request again."}
	}
}

// upperFirst and lowerFirst turn the two spellings of an exception's name into each other.
func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return string(s[0]&^0x20) + s[1:]
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return string(s[0]|0x20) + s[1:]
}
