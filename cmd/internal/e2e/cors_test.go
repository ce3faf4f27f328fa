package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// A page of an origin that may call sees its answers, whoever gives them; others, and all
// where nothing is set, see none of it.
func TestBrowsers(t *testing.T) {
	t.Parallel()
	const app, stranger = "https://app.example.com", "https://stranger.example"
	g := start(t, options{env: []string{"AISIX_PROXY__CORS__ALLOW_ORIGINS=" + app + ",https://*.example.org"}})
	c := g.tenant(t, g.SimURL(), settings{id: claude, key: map[string]any{"rate_limit": map[string]any{"rpm": 3}}})
	plain := shared(t)

	ask := func(method, base, key, body string, header ...string) answer {
		t.Helper()
		a, err := do(t.Context(), method, base+"/v1/chat/completions", key, body, header...)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	allowed := func(a answer) string { return strings.Join(a.header.Values("access-control-allow-origin"), ", ") }
	silent := func(what string, a answer) {
		t.Helper()
		for name := range a.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s: %q", what, name, a.header[name])
			}
		}
	}

	question := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type,x-stainless-os"}
	for _, origin := range []string{app, "https://a.b.example.org"} {
		a := ask(http.MethodOptions, g.proxy, "", "", append(question, "Origin", origin)...)
		if a.status != http.StatusNoContent || a.body != "" || allowed(a) != origin || a.header.Get("access-control-allow-headers") != "authorization,content-type,x-stainless-os" ||
			!strings.Contains(a.header.Get("access-control-allow-methods"), "POST") || a.header.Get("x-aisix-request-id") == "" {
			t.Errorf("preflight of %s: %d %v %q", origin, a.status, a.header, a.body)
		}
	}
	for what, a := range map[string]answer{
		"a stranger's preflight":        ask(http.MethodOptions, g.proxy, "", "", append(question, "Origin", stranger)...),
		"a preflight without a setting": ask(http.MethodOptions, plain.proxy, "", "", append(question, "Origin", app)...),
	} {
		a.want(t, http.StatusUnauthorized, "invalid_api_key")
		silent(what, a)
	}
	ask(http.MethodOptions, plain.proxy, c.key, "", append(question, "Origin", app)...).want(t, http.StatusUnauthorized, "invalid_api_key") // of another gateway

	// The three of the minute, then a 429.
	good := map[string]answer{
		"whole":  ask(http.MethodPost, g.proxy, c.key, c.ask("Hi", false), "Origin", app),
		"stream": ask(http.MethodPost, g.proxy, c.key, c.ask("Hi", true), "Origin", app),
	}
	silent("a stranger's answer", ask(http.MethodPost, g.proxy, c.key, c.ask("Hi", false), "Origin", stranger))
	limited := ask(http.MethodPost, g.proxy, c.key, c.ask("Hi", false), "Origin", app)
	limited.want(t, http.StatusTooManyRequests, "rate_limit_exceeded")
	unknown := ask(http.MethodPost, g.proxy, "sk-nobody", c.ask("Hi", false), "Origin", app)
	unknown.want(t, http.StatusUnauthorized, "invalid_api_key")
	upgrade := ask(http.MethodGet, g.proxy, c.key, "", "Origin", app, "Connection", "upgrade", "Upgrade", "websocket") // Envoy's own
	upgrade.want(t, http.StatusMethodNotAllowed, "invalid_request_error")
	wrong := ask(http.MethodDelete, g.proxy, c.key, "", "Origin", app)
	wrong.want(t, http.StatusMethodNotAllowed, "invalid_request_error")
	for what, a := range map[string]answer{"whole": good["whole"], "stream": good["stream"], "429": limited, "401": unknown, "upgrade": upgrade, "405": wrong} {
		exposed := a.header.Get("access-control-expose-headers")
		if allowed(a) != app || !strings.Contains(exposed, "x-aisix-request-id") || !strings.Contains(exposed, "retry-after") || !strings.Contains(exposed, "x-ratelimit-remaining-requests") {
			t.Errorf("%s: %d %v", what, a.status, a.header)
		}
		if good[what].status != 0 && (a.status != http.StatusOK || a.header.Get("x-ratelimit-remaining-requests") == "") {
			t.Errorf("%s: %d %v %s", what, a.status, a.header, a.body)
		}
	}
	gone := g.tenant(t, "http://127.0.0.1:9", settings{})
	broken := ask(http.MethodPost, g.proxy, gone.key, gone.ask("Hi", false), "Origin", app) // extproc's, in an upstream's stead
	broken.want(t, http.StatusBadGateway, "transport_error")
	if allowed(broken) != app || !strings.Contains(broken.header.Get("access-control-expose-headers"), "x-aisix-request-id") {
		t.Errorf("502: %v", broken.header)
	}
	silent("a stranger's 502", ask(http.MethodPost, g.proxy, gone.key, gone.ask("Hi", false), "Origin", stranger))
	silent("an answer without a setting", ask(http.MethodPost, plain.proxy, "sk-nobody", c.ask("Hi", false), "Origin", app))
	silent("an answer to no page", ask(http.MethodPost, g.proxy, "sk-nobody", c.ask("Hi", false)))
}

// Office documents of Claude's go by Converse, through Envoy and all: the simulator knows
// both operations.
func TestOfficeDocument(t *testing.T) {
	t.Parallel()
	g := shared(t)
	c := g.tenant(t, g.SimURL(), settings{id: "anthropic.claude-sonnet-4-5-20250929-v1:0"})
	body := func(stream string, file string) string {
		return `{"model":"` + c.alias + `","stream":` + stream + `,"messages":[{"role":"user","content":[{"type":"text","text":"Read."},` + file + `]}]}`
	}
	const docx = `{"type":"file","file":{"filename":"a.docx","file_data":"UEsDBBQ="}}`
	const pdf = `{"type":"image_url","image_url":{"url":"data:application/pdf;base64,JVBERi0xLjcK"}}`
	for _, test := range []struct{ stream, file, id string }{{"false", docx, "chatcmpl-"}, {"true", docx, "chatcmpl-"}, {"false", pdf, "msg_"}, {"true", pdf, "msg_"}} {
		a, err := do(t.Context(), http.MethodPost, c.proxy+"/v1/chat/completions", c.key, body(test.stream, test.file))
		if err != nil {
			t.Fatal(err)
		}
		if a.status != http.StatusOK || !strings.Contains(a.body, `"id":"`+test.id) {
			t.Errorf("%+v: %d %s", test, a.status, a.body)
		}
	}
}
