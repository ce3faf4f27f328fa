package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	usagev1 "aisix/proto/aisix/v1"
)

// countedStreams are streams that pass as they are, with all that is counted of them.
var countedStreams = []struct {
	name, path string
	model      map[string]any
	body       string // but for model
	events     []string
}{
	{"messages", "/v1/messages", map[string]any{"model_name": "anthropic.claude-sonnet-4-6", "host": "mantle"},
		`{"stream":true,"max_tokens":100,"messages":[{"role":"user","content":"Hello"}]}`, []string{
			"event: message_start\ndata: " + `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":11,"cache_read_input_tokens":300,"cache_creation_input_tokens":40,"output_tokens":1}}}`,
			"event: content_block_start\ndata: " + `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
			"event: content_block_delta\ndata: " + `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello, how are you?"}}`,
			"event: content_block_stop\ndata: " + `{"type":"content_block_stop","index":0}`,
			"event: message_delta\ndata: " + `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":27}}`,
			"event: message_stop\ndata: " + `{"type":"message_stop"}`,
		}},
	{"responses", "/v1/responses", map[string]any{"model_name": "us.openai.gpt-5.6-sol", "api": "responses"},
		`{"stream":true,"input":"Hello"}`, []string{
			"event: response.created\ndata: " + `{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","created_at":1,"status":"in_progress","model":"gpt","output":[],"usage":null}}`,
			"event: response.output_item.added\ndata: " + `{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"m","type":"message","status":"in_progress","role":"assistant","content":[]}}`,
			"event: response.content_part.added\ndata: " + `{"type":"response.content_part.added","sequence_number":2,"item_id":"m","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}`,
			"event: response.output_text.delta\ndata: " + `{"type":"response.output_text.delta","sequence_number":3,"item_id":"m","output_index":0,"content_index":0,"delta":"Hello, how are you?"}`,
			"event: response.output_item.done\ndata: " + `{"type":"response.output_item.done","sequence_number":4,"output_index":0,"item":{"id":"m","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello, how are you?","annotations":[]}]}}`,
			"event: response.completed\ndata: " + `{"type":"response.completed","sequence_number":5,"response":{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"gpt","output":[{"id":"m","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello, how are you?","annotations":[]}]}],"usage":{"input_tokens":351,"input_tokens_details":{"cached_tokens":300},"output_tokens":27,"output_tokens_details":{"reasoning_tokens":20},"total_tokens":378}}}`,
		}},
	{"chat", "/v1/chat/completions", map[string]any{"model_name": "us.openai.gpt-5.6-sol", "api": "chat"},
		`{"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hello"}]}`, []string{
			"data: " + `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[{"index":0,"delta":{"role":"assistant","content":"Hello,"},"finish_reason":null}]}`,
			"data: " + `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[{"index":0,"delta":{"content":" how are you?"},"finish_reason":null}]}`,
			"data: " + `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`,
			"data: " + `{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt","choices":[],"usage":{"prompt_tokens":351,"completion_tokens":27,"total_tokens":378,"prompt_tokens_details":{"cached_tokens":300},"completion_tokens_details":{"reasoning_tokens":20}}}`,
			"data: [DONE]",
		}},
}

// Envoy and extproc count a stream alike; what Envoy hands on is the upstream's own words. One
// that is cut is settled by estimate; a refusal is what it always is.
func TestCountedByEnvoy(t *testing.T) {
	t.Parallel()
	counting := start(t, options{env: []string{"AISIX_UPSTREAM__COUNT_IN_ENVOY=true", "AISIX_UPSTREAM__HTTP2=true", "AISIX_UPSTREAM__CA_FILE=" + upstreamCA("counting")}})
	for by, newUpstream := range map[string]func(*testing.T, func(http.ResponseWriter, *http.Request)) *upstream{"HTTP1": newUpstream, "HTTP2": newHTTP2Upstream} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			countedByEnvoy(t, counting, newUpstream)
		})
	}
}

func countedByEnvoy(t *testing.T, counting *gateway, newUpstream func(*testing.T, func(http.ResponseWriter, *http.Request)) *upstream) {
	for _, s := range countedStreams {
		t.Run(s.name, func(t *testing.T) {
			whole := strings.Join(s.events, "\n\n") + "\n\n"
			u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				for _, event := range s.events {
					io.WriteString(w, event+"\n\n")
					w.(http.Flusher).Flush()
				}
			})
			came := make(chan struct{})
			cut := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, s.events[0]+"\n\n")
				w.(http.Flusher).Flush()
				select {
				case <-came:
				case <-r.Context().Done():
				}
				panic(http.ErrAbortHandler)
			})
			refusing := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusTooManyRequests)
				io.WriteString(w, `{"type":"error","error":{"type":"rate_limit_error","code":"rate_limit_exceeded","message":"slow down"}}`)
			})
			send := func(g *gateway, upstream string) (*tenant, *http.Response) {
				c := g.tenant(t, upstream, settings{id: s.model["model_name"].(string), model: s.model})
				body := map[string]any{}
				if err := json.Unmarshal([]byte(s.body), &body); err != nil {
					t.Fatal(err)
				}
				body["model"] = c.alias
				b, _ := json.Marshal(body)
				response, err := open(t.Context(), http.MethodPost, c.proxy+s.path, c.key, string(b))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { response.Body.Close() })
				return c, response
			}
			ask := func(g *gateway, upstream string) (answer, *usagev1.Record) {
				c, response := send(g, upstream)
				b, err := io.ReadAll(response.Body)
				if err != nil {
					t.Error(err)
				}
				return answer{response.StatusCode, response.Header, string(b)}, c.recordOf(t)
			}
			counts := func(r *usagev1.Record) string {
				return fmt.Sprint(r.Status, r.Outcome, r.GetPromptTokens(), r.GetCompletionTokens(), r.GetCachedTokens(), r.GetCacheWriteTokens(), r.GetReasoningTokens(), r.Partial)
			}
			for _, upstream := range []string{u.URL, refusing.URL} {
				a, by := ask(counting, upstream)
				b, other := ask(shared(t), upstream)
				if a.status != b.status || counts(by) != counts(other) || a.header.Get("content-type") != b.header.Get("content-type") {
					t.Errorf("%d %s\n%s: by Envoy\n%s: by extproc\n%s", a.status, a.body, counts(by), counts(other), b.body)
				}
				if upstream == u.URL && (a.body != whole || by.GetPromptTokens() != 351 || by.GetCompletionTokens() != 27 || by.GetCachedTokens() != 300) {
					t.Errorf("%s\n%v", a.body, by)
				}
				if upstream == u.URL && (a.header.Get("x-aisix-request-id") == "" || a.header.Get("x-amzn-requestid") != "") {
					t.Errorf("%v", a.header)
				}
			}
			c, response := send(counting, cut.URL)
			first := make([]byte, len(s.events[0]))
			if _, err := io.ReadFull(response.Body, first); err != nil || string(first) != s.events[0] {
				t.Fatalf("%d %q, %v", response.StatusCode, first, err)
			}
			close(came)
			if rest, err := io.ReadAll(response.Body); err == nil {
				t.Errorf("a stream that is cut looks whole: %s", rest)
			}
			if r := c.recordOf(t); !r.Partial || r.GetPromptTokens() == 0 || r.Outcome != usagev1.Outcome_OUTCOME_CANCELLED || r.Status != 200 {
				t.Errorf("a stream that is cut: %v", r)
			}
		})
	}
}

// recordOf is the usage record of a tenant's only call.
func (c *tenant) recordOf(t *testing.T) *usagev1.Record {
	t.Helper()
	var of []*usagev1.Record
	eventually(t, patience, func() error {
		of = slices.DeleteFunc(c.records(t), func(r *usagev1.Record) bool { return r.KeyId != c.keyID || r.Operation != "converse" })
		if len(of) != 1 {
			return errors.New("no record yet")
		}
		return nil
	})
	return of[0]
}
