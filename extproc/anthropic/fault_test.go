package anthropic

import (
	"strings"
	"testing"

	"aisix/extproc/fault"
)

// Claude Code compacts a conversation where it reads "prompt is too long": so other words for
// it have that in front, and those that it knows stay as they are.
func TestAPromptThatIsTooLong(t *testing.T) {
	for says, want := range map[string]string{
		"Input is too long for requested model.":                                                             "prompt is too long: Input is too long for requested model.",
		"Your input exceeds the context window of this model.":                                               "prompt is too long: Your input exceeds the context window of this model.",
		"prompt is too long: 208310 tokens > 200000 maximum":                                                 "prompt is too long: 208310 tokens > 200000 maximum",
		"The model returned the following errors: Prompt is too long: 3 tokens > 2":                          "The model returned the following errors: Prompt is too long: 3 tokens > 2",
		"input length and `max_tokens` exceed context limit: 195000 + 8192 > 200000, decrease and try again": "input length and `max_tokens` exceed context limit: 195000 + 8192 > 200000, decrease and try again",
	} {
		f := &fault.Error{Kind: fault.Upstream, Status: 400, Code: "context_length_exceeded", Message: says}
		if _, _, body := (API{}).Fault(f, "r"); !strings.Contains(string(body), `"type":"invalid_request_error","message":"`+want+`"`) {
			t.Errorf("%s: %s", says, body)
		}
	}
	f := &fault.Error{Kind: fault.Upstream, Status: 400, Message: "messages: no"}
	if _, _, body := (API{}).Fault(f, "r"); strings.Contains(string(body), "too long") {
		t.Errorf("%s", body)
	}
}

// Anthropic's SDKs go on without a thread of messages where an error says in details that there is none.
func TestThereAreNoThreads(t *testing.T) {
	for says, there := range map[string]bool{
		"thread: Extra inputs are not permitted":                                                           true,
		"The model returned the following errors: thread: Extra inputs are not permitted":                  true,
		"Malformed input request: #: extraneous key [thread] is not permitted, please reformat your input": true,
		"messages.0.thread: Extra inputs are not permitted":                                                false,
		"max_tokens: Field required":                                                                       false,
	} {
		f := &fault.Error{Kind: fault.Upstream, Status: 400, Message: says}
		if _, _, body := (API{}).Fault(f, "r"); strings.Contains(string(body), `"details":{"error_code":"thread_unsupported_request","unsupported":["thread"]}},"request_id":"r"}`) != there {
			t.Errorf("%s: %s", says, body)
		}
	}
}
