package bedrock

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/fault"
)

// An error in OpenAI's envelope is what it says, as an answer and inside a stream, where there is
// no status: by its code, else by its type.
func TestOpenAIsErrors(t *testing.T) {
	models := []*Model{
		compile(&resource.Model{ModelName: "openai.gpt-oss-120b", API: "chat", Host: "mantle"}),
		compile(&resource.Model{ModelName: "openai.gpt-5.5"}),
	}
	for _, tt := range []struct {
		kind, code string
		status     int // of an answer
		want       answer
	}{
		{"invalid_request_error", "context_length_exceeded", 400, answer{status: 400, code: "context_length_exceeded", message: "no"}},
		{"permission_error", "access_denied", 403, accessDenied},
		{"permission_denied", "permission_denied", 403, accessDenied},
		{"permission_error", "invalid_signature", 403, notAuthentic},
		{"invalid_request_error", "invalid_api_key", 403, notAuthentic},
		{"insufficient_quota", "insufficient_quota", 429, outOfQuota},
		{"rate_limit_error", "rate_limit_exceeded", 429, rateLimited},
		{"server_error", "server_is_overloaded", 503, overloaded},
		{"server_error", "slow_down", 503, overloaded},
		{"overloaded_error", "", 503, overloaded},
		{"server_error", "timeout", 504, timedOut},
		{"server_error", "server_error", 500, failed},
		{"invalid_request_error", "model_not_found", 404, modelNotFound},
		{"authentication_error", "invalid_request_error", 401, answer{status: 401, message: notAuthentic.message}},
		{"invalid_request_error", "invalid_request_error", 400, answer{status: 400, code: "invalid_request_error", message: "no"}},
	} {
		object := map[string]any{"type": tt.kind, "code": tt.code, "message": "no", "param": nil}
		body, _ := json.Marshal(map[string]any{"error": object})
		failed, _ := json.Marshal(map[string]any{"type": "response.failed", "response": map[string]any{"id": "r", "status": "failed", "error": object}})
		for i, event := range [][]byte{body, failed} {
			req := userSays("hi")
			req.Stream = true
			c := newCall(t, req, models[i])
			header := http.Header{"Content-Type": {"text/event-stream"}}
			_, streamed := c.reply(200, header).Events(bytes.NewReader([]byte("data: " + string(event) + "\n\n"))).Next()
			for how, err := range map[string]error{"answered": c.reply(tt.status, http.Header{"Content-Type": {"application/json"}}).Fault(body), "streamed": streamed} {
				if how == "streamed" && (tt.code == "invalid_signature" || tt.status == 401 || tt.kind == "permission_denied" || i == 1 && tt.code == "") {
					continue // comes as an answer alone; response.failed has a code and no type
				}
				var f *fault.Error
				if !errors.As(err, &f) || f.Status != tt.want.status || f.Code != tt.want.code || f.Message != tt.want.message {
					t.Errorf("%s %s, %s %d: %#v, want %+v", tt.kind, tt.code, how, i, f, tt.want)
				}
			}
		}
	}
}
