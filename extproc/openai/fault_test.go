package openai

import (
	"testing"

	"aisix/extproc/fault"
)

func refusalOf(param string) *fault.Error {
	return &fault.Error{Kind: fault.InvalidRequest, Status: 400, Param: param, Message: "say \"no\"\n</script>", Err: errSecret{}}
}

type errSecret struct{}

func (errSecret) Error() string { return "arn:aws:bedrock" }

func TestFault(t *testing.T) {
	status, header, body := Chat{}.Fault(refusalOf("messages[0]"), "")
	if want := `{"error":{"message":"say \"no\"\n</script>","type":"invalid_request_error","code":null,"param":"messages[0]"}}`; status != 400 || string(body) != want {
		t.Errorf("%d %s, want %s", status, body, want)
	}
	if got := header.Get("Content-Type"); got != "application/json" || header.Get("Retry-After") != "" {
		t.Errorf("%v", header)
	}
	_, header, body = Chat{}.Fault(&fault.Error{Kind: fault.RateLimited, Status: 429, Code: "rate_limit_exceeded", RetryAfter: "7", Message: "slow"}, "")
	if want := `{"error":{"message":"slow","type":"rate_limit_exceeded","code":"rate_limit_exceeded","param":null}}`; string(body) != want || header.Get("Retry-After") != "7" {
		t.Errorf("%s, %v", body, header)
	}
}
