package extproc_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"aisix/admin/store/redistest"
	"aisix/extproc"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/fetch"
	"aisix/extproc/usage"
)

// imagesFunc is what a test does instead of fetching.
type imagesFunc func(*chat.Request) (*chat.Request, error)

func (imagesFunc) Prepare(r *chat.Request) (*chat.Request, error) {
	return fetch.New(fetch.Config{Enabled: true}).Prepare(r)
}

func (f imagesFunc) Images(_ context.Context, _ fetch.Caller, r *chat.Request) (*chat.Request, error) {
	return f(r)
}

// TestImages: what is fetched goes upstream. What is wrong whatever the image holds is a 400 before
// any limit was touched (noLimits fails the test) and before anything was fetched.
func TestImages(t *testing.T) {
	const limited = `{"display_name":"m","model_name":"amazon.nova-pro-v1:0","rate_limit":{"rpm":1}}`
	png := []byte("\x89PNG\r\n\x1a\n")
	untouched := imagesFunc(func(*chat.Request) (*chat.Request, error) {
		t.Error("an image was fetched")
		return nil, errors.New("no")
	})
	for _, test := range []struct {
		name, model, param, says string
		images                   imagesFunc // nil: fetching is off
		more                     string     // messages
	}{
		{"fetching is off", limited, "messages[0].content[1].image_url.url", "is off", nil, ""},
		// A model that is known to take no images costs no fetch.
		{"the model takes none", `{"display_name":"m","model_name":"amazon.nova-micro-v1:0","rate_limit":{"rpm":1}}`, "messages[0].content[1]", "does not support images", untouched, ""},
		{"a broken conversation", limited, "messages[1].tool_call_id", "zz", untouched, `,{"role":"tool","tool_call_id":"zz","content":"x"}`},
		{"the model takes no documents", `{"display_name":"m","model_name":"meta.llama3-2-11b-instruct-v1:0","rate_limit":{"rpm":1},"capabilities":{"documents":false}}`, "messages[1].content[0]", "does not support documents", untouched,
			`,{"role":"user","content":[{"type":"file","file":{"filename":"a.txt","file_data":"aGVsbG8="}}]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := server(t, test.model, func(p *extproc.Parts) {
				if test.images != nil {
					p.Images = test.images
				}
			})
			a := c.ask(http.MethodPost, "/v1/chat/completions", look(test.more))
			if _, _, param := faultOf(t, a); a.Status != 400 || a.Forwarded != nil || !bytes.Contains(a.Body, []byte(test.says)) || param != test.param {
				t.Errorf("%d %s, forwarded %v; want a 400 of %s that says %q", a.Status, a.Body, a.Forwarded, test.param, test.says)
			}
		})
	}

	c := server(t, `{"display_name":"m","model_name":"amazon.nova-pro-v1:0"}`, func(p *extproc.Parts) {
		p.Images = imagesFunc(func(r *chat.Request) (*chat.Request, error) {
			out := *r
			out.Messages = []chat.Message{{Role: chat.User, Blocks: []chat.Block{chat.Image{Format: "png", Data: png}}}}
			return &out, nil
		})
	})
	a := c.ask(http.MethodPost, "/v1/chat/completions", look(""))
	if a.Forwarded == nil || !strings.Contains(string(a.Forwarded.Body), base64.StdEncoding.EncodeToString(png)) {
		t.Errorf("%d %s, forwarded %+v", a.Status, a.Body, a.Forwarded)
	}
}

// look is a request that names an image by URL.
func look(more string) string {
	return `{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}` + more + `]}`
}

// A caller whom a limit refuses has nothing fetched; one whose image can't be had has spent a request
// and no tokens, and its slot is free again.
func TestImagesAreFetchedBehindTheLimits(t *testing.T) {
	fetched := 0
	c := server(t, `{"display_name":"m","model_name":"amazon.nova-pro-v1:0","rate_limit":{"rpd":2,"tpd":1000,"concurrency":1}}`, func(p *extproc.Parts) {
		p.Limiter = newGrants(t, redistest.Start(t).Client())
		p.Images = imagesFunc(func(*chat.Request) (*chat.Request, error) {
			fetched++
			return nil, fault.Invalid("messages[0].content[1].image_url.url", "its server answered 404")
		})
	})
	for i, want := range []struct {
		status    int
		remaining string
		fetched   int
	}{{400, "1", 1}, {400, "0", 2}, {429, "0", 2}} {
		c.calls = nil
		a := c.ask(http.MethodPost, "/v1/chat/completions", look(""))
		if a.Status != want.status || a.Header.Get("X-Ratelimit-Remaining-Requests") != want.remaining || fetched != want.fetched || a.Forwarded != nil {
			t.Errorf("%d: %d %s, %v, %d fetched; want %+v", i, a.Status, a.Body, a.Header, fetched, want)
		}
		if tokens := a.Header.Get("X-Ratelimit-Remaining-Tokens"); i < 2 && tokens != "999" { // but for what this one reserves
			t.Errorf("%d: %s tokens are left", i, tokens)
		}
		if got := c.one(t); got.Outcome != usage.Refused || got.Usage.Known() {
			t.Errorf("%d: recorded %+v", i, got)
		}
	}
}
