package extproc_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/admin/store/redistest"
	"aisix/extproc"
	"aisix/extproc/exchange/exchangetest"
)

const claude = "anthropic.claude-sonnet-4-5-20250929-v1:0"

// Whatever goes wrong is told in Anthropic's shape, and its request's id in both headers.
func TestFaultsInAnthropicsShape(t *testing.T) {
	const model = `{"display_name":"here","model_name":"` + claude + `","rate_limit":{"rpm":0}}`
	limits := func(p *extproc.Parts) { p.Limiter = newGrants(t, redistest.Start(t).Client()) }
	c, free := server(t, model, limits), server(t, "", nil)
	denied := server(t, "", nil)
	denied.upstream = exchangetest.Reply{Status: 401, Header: http.Header{"Content-Type": {"application/json"}, "X-Amzn-Errortype": {"UnrecognizedClientException"}}, Body: []byte(`{"message":"no"}`)}
	broken := server(t, "", nil)
	broken.upstream = exchangetest.Reply{Status: 500, Body: []byte("{}")}
	const body = `{"model":"here","max_tokens":10,"messages":[{"role":"user","content":"Hi"}]}`
	nova := strings.Replace(body, "here", "amazon.nova-pro-v1:0", 1)
	for _, test := range []struct {
		name, method, path, body string
		header                   []string
		caller                   *caller
		status                   int
		kind                     string
	}{
		{"no key", "POST", "/v1/messages", body, []string{"authorization", ""}, c, 401, "authentication_error"},
		{"a wrong key, by x-api-key", "POST", "/v1/messages?beta=true", body, []string{"authorization", "", "x-api-key", "no"}, c, 401, "authentication_error"},
		{"not JSON", "POST", "/v1/messages", "{", nil, c, 400, "invalid_request_error"},
		{"a member twice", "POST", "/v1/messages", `{"model":"here","model":"here"}`, nil, c, 400, "invalid_request_error"},
		{"no model", "POST", "/v1/messages", "{}", nil, c, 400, "invalid_request_error"},
		{"unknown model", "POST", "/v1/messages", `{"model":"there","stream":3}`, nil, c, 404, "not_found_error"},
		{"stream is no boolean", "POST", "/v1/messages", `{"model":"here","stream":"yes"}`, nil, c, 400, "invalid_request_error"},
		{"forbidden model", "POST", "/v1/messages", body, []string{"authorization", "Bearer sk-narrow"}, c, 403, "permission_error"},
		{"too large", "POST", "/v1/messages", strings.Repeat("x", 2<<20), nil, c, 413, "request_too_large"},
		{"limit", "POST", "/v1/messages", body, nil, c, 429, "rate_limit_error"},
		{"limit of counts", "POST", "/v1/messages/count_tokens", body, nil, c, 429, "rate_limit_error"},
		{"method", "GET", "/v1/messages", "", nil, c, 405, "invalid_request_error"},
		{"path", "POST", "/v1/messages/batches", body, nil, c, 404, "not_found_error"},
		{"path, no key", "POST", "/v1/messages/batches", body, []string{"authorization", ""}, c, 401, "authentication_error"},
		{"another of Anthropic's paths", "GET", "/v1/files", "", []string{"anthropic-version", "2023-06-01"}, c, 404, "not_found_error"},
		{"a model of embeddings", "POST", "/v1/messages", strings.Replace(body, "here", "amazon.titan-embed-text-v2:0", 1), nil, free, 400, "invalid_request_error"},
		{"its tokens", "POST", "/v1/messages/count_tokens", strings.Replace(body, "here", "amazon.titan-embed-text-v2:0", 1), nil, free, 400, "invalid_request_error"},
		{"not for this family", "POST", "/v1/messages", strings.Replace(nova, `"max_tokens"`, `"container":"c","max_tokens"`, 1), nil, free, 400, "invalid_request_error"},
		{"our credentials", "POST", "/v1/messages", nova, nil, denied, 403, "permission_error"},
		{"upstream", "POST", "/v1/messages", nova, nil, broken, 500, "api_error"},
		{"models", "GET", "/v1/models?limit=0", "", []string{"anthropic-version", "2023-06-01"}, free, 400, "invalid_request_error"},
		{"a model", "GET", "/v1/models/there", "", []string{"anthropic-version", "2023-06-01"}, c, 404, "not_found_error"},
		{"models, no key", "GET", "/v1/models", "", []string{"anthropic-version", "2023-06-01", "authorization", ""}, free, 401, "authentication_error"},
	} {
		a := test.caller.ask(test.method, test.path, test.body, append([]string{"x-request-id", "req-1"}, test.header...)...)
		var told struct {
			Type      string
			Error     struct{ Type, Message string }
			RequestID string `json:"request_id"`
		}
		if err := json.Unmarshal(a.Body, &told); err != nil {
			t.Errorf("%s: %d %s: %v", test.name, a.Status, a.Body, err)
		}
		if a.Status != test.status || told.Type != "error" || told.Error.Type != test.kind || told.Error.Message == "" || told.RequestID != "req-1" ||
			a.Header.Get("Request-Id") != "req-1" || a.Header.Get("X-Aisix-Request-Id") != "req-1" {
			t.Errorf("%s: %d %s %v, want %d %s", test.name, a.Status, a.Body, a.Header, test.status, test.kind)
		}
	}
	if a := broken.ask("POST", "/v1/messages", nova); broken.calls[0].Status != a.Status {
		t.Errorf("recorded as %d, told %d", broken.calls[0].Status, a.Status)
	}
	good := server(t, "", nil)
	if a := good.ask("POST", "/v1/messages", nova, "x-request-id", "req-2"); a.Status != 200 || a.Header.Get("Request-Id") != "req-2" {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
}

func TestCountTokens(t *testing.T) {
	var sent []exchangetest.Forwarded
	count := func(reply exchangetest.Reply, model, body string) (*exchangetest.Answer, *caller) {
		sent = nil
		c := server(t, model, nil)
		e := exchangetest.Envoy{Method: http.MethodPost, Path: "/v1/messages/count_tokens?beta=true", Body: []byte(body),
			Header:   http.Header{"Authorization": {"Bearer " + plaintext}, "Anthropic-Beta": {"claude-code-20250219,context-management-2025-06-27", "novel-1"}},
			Upstream: func(f exchangetest.Forwarded) exchangetest.Reply { sent = append(sent, f); return reply }}
		return e.Run(t.Context(), t, c.Process), c
	}
	const body = `{"model":"claude","messages":[{"role":"user","content":"Twelve bytes"}],"tools":[]}`
	counted := jsonReply(`{"inputTokens":42}`)
	for _, id := range []string{claude, "us." + claude, "arn:aws:bedrock:us-west-2:123456789012:inference-profile/us." + claude, claude + `","api":"converse`} {
		a, c := count(counted, `{"display_name":"claude","model_name":"`+id+`"}`, body)
		if a.Status != 200 || string(a.Body) != `{"input_tokens":42}` || a.Header.Get("X-Aisix-Estimated") != "" {
			t.Fatalf("%d %s %v", a.Status, a.Body, a.Header)
		}
		var up struct {
			Input struct{ InvokeModel struct{ Body string } }
		}
		if err := json.Unmarshal(sent[0].Body, &up); err != nil {
			t.Fatal(err)
		}
		inner, _ := base64.StdEncoding.DecodeString(up.Input.InvokeModel.Body)
		const want = `{"max_tokens":1024,"anthropic_beta":["novel-1"],"anthropic_version":"bedrock-2023-05-31","messages":[{"role":"user","content":"Twelve bytes"}],"tools":[]}`
		if sent[0].Path != "/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/count-tokens" || string(inner) != want {
			t.Errorf("%s %s", sent[0].Path, inner)
		}
		if f := c.one(t); f.Operation != "count_tokens" || f.Dialect != "anthropic.messages" || f.Usage.Known() || len(f.Tries) != 1 {
			t.Errorf("recorded as %+v", f)
		}
	}
	refused := func(status int, kind, message string) exchangetest.Reply {
		return exchangetest.Reply{Status: status, Header: http.Header{"Content-Type": {"application/json"}, "X-Amzn-Errortype": {kind}}, Body: []byte(`{"message":"` + message + `"}`)}
	}
	for name, c := range map[string]struct {
		model string
		reply exchangetest.Reply
		tries int
	}{
		"not counted": {claude, refused(400, "ValidationException", "The provided model doesn't support counting tokens."), 1},
		"unknown":     {claude, refused(404, "ResourceNotFoundException", "x"), 1},
		"not allowed": {claude, refused(403, "AccessDeniedException", "User is not authorized to perform bedrock:CountTokens"), 1},
		"Nova":        {"amazon.nova-pro-v1:0", exchangetest.Reply{}, 0},
		"profile":     {"arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/abc", exchangetest.Reply{}, 0},
	} {
		a, caller := count(c.reply, `{"display_name":"claude","model_name":"`+c.model+`"}`, body)
		if a.Status != 200 || string(a.Body) != `{"input_tokens":4}` || a.Header.Get("X-Aisix-Estimated") != "true" || a.Header.Get("Request-Id") == "" || len(caller.one(t).Tries) != c.tries || len(sent) != c.tries {
			t.Errorf("%s: %d %s %v, %d sent", name, a.Status, a.Body, a.Header, len(sent))
		}
	}
	for name, c := range map[string]struct {
		reply  exchangetest.Reply
		body   string
		status int
	}{
		"throttled":   {refused(429, "ThrottlingException", "slow"), body, 429},
		"wrong":       {refused(400, "ValidationException", "messages: at least one message is required"), body, 400},
		"nothing":     {jsonReply(`{}`), body, 500},
		"no messages": {counted, `{"model":"claude"}`, 400},
	} {
		if a, _ := count(c.reply, `{"display_name":"claude","model_name":"`+claude+`"}`, c.body); a.Status != c.status {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
}

// A count is a request, and no more: neither tokens nor a place are taken for it.
func TestCountTokensIsLimitedByRequestsAlone(t *testing.T) {
	zero, two := int64(0), int64(2)
	c := server(t, "", func(p *extproc.Parts) {
		p.Snapshots = twoKeys(t, &resource.RateLimit{TPM: &zero, Concurrency: &zero, RPM: &two})
		p.Limiter = newGrants(t, redistest.Start(t).Client())
	})
	const body = `{"model":"amazon.nova-pro-v1:0","messages":[{"role":"user","content":"Hi"}]}`
	var got []int
	for range 3 {
		got = append(got, c.ask("POST", "/v1/messages/count_tokens", body).Status)
	}
	if got[0] != 200 || got[1] != 200 || got[2] != 429 {
		t.Errorf("statuses %v", got)
	}
	if a := c.ask("POST", "/v1/messages", body); a.Status != 429 {
		t.Errorf("a message: %d %s", a.Status, a.Body)
	}
}

func TestModelsInAnthropicsShape(t *testing.T) {
	c := server(t, `{"display_name":"claude-*","model_name":"*"}`, nil)
	version := []string{"anthropic-version", "2023-06-01"}
	object := `{"type":"model","id":"claude-*","display_name":"claude-*","created_at":"1970-01-01T00:00:00Z"}`
	for path, want := range map[string]string{
		"/v1/models":                            `{"data":[` + object + `],"has_more":false,"first_id":"claude-*","last_id":"claude-*"}`,
		"/v1/models?limit=1000":                 `{"data":[` + object + `],"has_more":false,"first_id":"claude-*","last_id":"claude-*"}`,
		"/v1/models?after_id=claude-*":          `{"data":[],"has_more":false,"first_id":null,"last_id":null}`,
		"/v1/models/claude-*":                   object,
		"/v1/models?before_id=claude-*&limit=1": `{"data":[],"has_more":false,"first_id":null,"last_id":null}`,
	} {
		a := c.ask("GET", path, "", version...)
		got := string(a.Body)
		if i := strings.Index(got, `"created_at":"`); i > 0 {
			got = got[:i] + `"created_at":"1970-01-01T00:00:00Z"` + got[i+len(`"created_at":"1970-01-01T00:00:00Z"`):]
		}
		if a.Status != 200 || got != want {
			t.Errorf("%s: %d %s, want %s", path, a.Status, got, want)
		}
	}
	if a := c.ask("GET", "/v1/models", ""); !strings.HasPrefix(string(a.Body), `{"object":"list"`) {
		t.Errorf("without a version: %s", a.Body)
	}
}
