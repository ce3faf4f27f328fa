package openai

import (
	"net/http"

	"aisix/extproc/fault"
)

type errorObject struct {
	Error errorMembers `json:"error"`
}

type errorMembers struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Code    *string `json:"code"`
	Param   *string `json:"param"`
}

// Fault gives an error as an HTTP answer: the kind is OpenAI's type, what is
// not known is null. f.Err is not in it.
func (Chat) Fault(f *fault.Error) (status int, header http.Header, body []byte) {
	header = http.Header{"Content-Type": {"application/json"}}
	if f.RetryAfter != "" {
		header.Set("Retry-After", f.RetryAfter)
	}
	return f.Status, header, errorBody(f)
}

func errorBody(f *fault.Error) []byte {
	body, err := marshal(errorObject{errorMembers{f.Message, string(f.Kind), orNull(f.Code), orNull(f.Param)}})
	if err != nil { // strings always marshal
		return []byte(`{"error":{"message":"internal error","type":"internal_error","code":null,"param":null}}`)
	}
	return body
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
