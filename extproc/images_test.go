package extproc_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"aisix/extproc"
	"aisix/extproc/chat"
	"aisix/extproc/exchange/exchangetest"
	"aisix/extproc/fault"
)

// imagesFunc is what a test does instead of fetching.
type imagesFunc func(*chat.Request) (*chat.Request, error)

func (f imagesFunc) Images(_ context.Context, r *chat.Request) (*chat.Request, error) { return f(r) }

// TestImages: what is fetched goes upstream; what can't be had, or is off, is a
// 400 that names the part, before any limit was touched (noLimits fails the test).
func TestImages(t *testing.T) {
	const limited = `{"display_name":"m","model_name":"amazon.nova-pro-v1:0","rate_limit":{"rpm":1}}`
	const open = `{"display_name":"m","model_name":"amazon.nova-pro-v1:0"}`
	png := []byte("\x89PNG\r\n\x1a\n")
	parts := extproc.Parts{Config: extproc.Config{MaxBodyBytes: 1 << 20, Timeout: time.Minute, StreamTimeout: time.Minute}, Limiter: noLimits{t}}
	ask := func(model string) *exchangetest.Answer {
		parts.Snapshots, parts.Recorder = snapshotOf(t, model), &recorded{}
		return exchangetest.Envoy{
			Path:   "/v1/chat/completions",
			Header: http.Header{"Authorization": {"Bearer " + plaintext}},
			Body:   []byte(`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]}`),
			Upstream: func(exchangetest.Forwarded) exchangetest.Reply {
				return exchangetest.Reply{Status: 500}
			},
		}.Run(t.Context(), t, extproc.New(parts).Process)
	}
	wantFault := func(a *exchangetest.Answer, says string) {
		t.Helper()
		if a.Status != 400 || a.Forwarded != nil || !bytes.Contains(a.Body, []byte(says)) || !bytes.Contains(a.Body, []byte(`"param":"messages[0].content[1].image_url.url"`)) {
			t.Errorf("%d %s, forwarded %v; want a 400 that says %q", a.Status, a.Body, a.Forwarded, says)
		}
	}

	wantFault(ask(limited), "is off")

	parts.Images = imagesFunc(func(*chat.Request) (*chat.Request, error) {
		return nil, fault.Invalid("messages[0].content[1].image_url.url", "its server answered 404")
	})
	wantFault(ask(limited), "answered 404")
	// A model that is known to take no images costs no fetch.
	if a := ask(`{"display_name":"m","model_name":"amazon.nova-micro-v1:0"}`); a.Status != 400 || !bytes.Contains(a.Body, []byte("takes no images")) || !bytes.Contains(a.Body, []byte(`"param":"messages[0].content[1]"`)) {
		t.Errorf("%d %s", a.Status, a.Body)
	}

	parts.Images = imagesFunc(func(r *chat.Request) (*chat.Request, error) {
		out := *r
		out.Messages = []chat.Message{{Role: chat.User, Blocks: []chat.Block{chat.Image{Format: "png", Data: png}}}}
		return &out, nil
	})
	a := ask(open)
	if a.Forwarded == nil || !strings.Contains(string(a.Forwarded.Body), base64.StdEncoding.EncodeToString(png)) {
		t.Errorf("%d %s, forwarded %+v", a.Status, a.Body, a.Forwarded)
	}
}
