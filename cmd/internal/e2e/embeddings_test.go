package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	usagev1 "aisix/proto/aisix/v1"
)

// Model ids of embeddings.
const (
	titan  = "amazon.titan-embed-text-v2:0"
	cohere = "cohere.embed-multilingual-v3"
	novas  = "amazon.nova-2-multimodal-embeddings-v1:0"
)

// embed asks for embeddings. members are those of the body beside model and input.
func (c *tenant) embed(t *testing.T, ctx context.Context, input any, members map[string]any) (answer, error) {
	t.Helper()
	body, err := json.Marshal(merge(map[string]any{"model": c.alias, "input": input}, members))
	if err != nil {
		t.Fatal(err)
	}
	return do(ctx, http.MethodPost, c.proxy+"/v1/embeddings", c.key, string(body))
}

// vectors are those of a good answer, and its count of tokens.
func (c *tenant) vectors(t *testing.T, input any, members map[string]any) (all [][]float32, tokens int) {
	t.Helper()
	a, err := c.embed(t, t.Context(), input, members)
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %s %v", a.status, a.body, err)
	}
	var list struct {
		Object, Model string
		Data          []struct {
			Object    string
			Index     int
			Embedding json.RawMessage
		}
		Usage struct {
			PromptTokens int `json:"prompt_tokens"`
			TotalTokens  int `json:"total_tokens"`
		}
	}
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		t.Fatal(err)
	}
	if list.Object != "list" || list.Model != c.alias || list.Usage.PromptTokens != list.Usage.TotalTokens {
		t.Errorf("%+v", list)
	}
	for i, e := range list.Data {
		var v []float32
		if members["encoding_format"] == "base64" {
			var text string
			json.Unmarshal(e.Embedding, &text)
			packed, err := base64.StdEncoding.DecodeString(text)
			if err != nil || len(packed)%4 != 0 {
				t.Fatal(err, len(packed))
			}
			for b := range slices.Chunk(packed, 4) {
				v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(b)))
			}
		} else if err := json.Unmarshal(e.Embedding, &v); err != nil {
			t.Fatal(err)
		}
		if e.Index != i || e.Object != "embedding" || len(v) == 0 {
			t.Errorf("%d: %+v", i, e)
		}
		all = append(all, v)
	}
	return all, list.Usage.TotalTokens
}

// recordsOf are the usage records of a tenant, once there are so many.
func (c *tenant) recordsOf(t *testing.T, n int) (of []*usagev1.Record) {
	t.Helper()
	eventually(t, patience, func() error {
		of = slices.DeleteFunc(c.records(t), func(r *usagev1.Record) bool { return r.KeyId != c.keyID || r.Operation != "embeddings" })
		if len(of) != n {
			return fmt.Errorf("%d records, want %d", len(of), n)
		}
		return nil
	})
	return of
}

// A batch comes back in order, each text's vector as if it had been alone, in either form,
// however many upstream calls it takes; and each of these is accounted for.
func TestEmbeddings(t *testing.T) {
	t.Parallel()
	g := shared(t)
	five := []string{"red", "green", "blue", "white", "black"}
	many := make([]string, 200)
	for i := range many {
		many[i] = fmt.Sprint("text ", i)
	}
	for _, test := range []struct {
		name, id   string
		texts      []string
		calls      int
		dimensions int
		members    map[string]any
	}{
		{"Titan", titan, five, 5, 256, map[string]any{"dimensions": 256}},
		{"Cohere", cohere, many, 3, 1024, nil},
		{"Nova", novas, five, 5, 384, map[string]any{"dimensions": 384}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := g.tenant(t, g.SimURL(), settings{id: test.id})
			floats, tokens := c.vectors(t, test.texts, test.members)
			packed, _ := c.vectors(t, test.texts, merge(map[string]any{"encoding_format": "base64"}, test.members))
			if len(floats) != len(test.texts) || len(floats[0]) != test.dimensions || tokens == 0 {
				t.Fatalf("%d vectors of %d, %d tokens", len(floats), len(floats[0]), tokens)
			}
			sum := 0
			for i := range test.texts[:5] {
				alone, n := c.vectors(t, test.texts[i], test.members)
				sum += n
				if !slices.Equal(alone[0], floats[i]) || !slices.Equal(alone[0], packed[i]) {
					t.Errorf("%q has another vector in a batch", test.texts[i])
				}
			}
			if len(test.texts) == 5 && sum != tokens {
				t.Errorf("%d tokens together, %d alone", tokens, sum)
			}
			for i, r := range c.recordsOf(t, 7) {
				want := 1
				if i < 2 {
					want = test.calls
				}
				if len(r.Tries) != want || int(r.Attempts) != want || r.Dialect != "openai.embeddings" || r.Outcome != usagev1.Outcome_OUTCOME_SUCCEEDED || r.GetPromptTokens() == 0 || r.GetCompletionTokens() != 0 {
					t.Errorf("record %d: %v", i, r)
				}
				if i == 0 && r.GetPromptTokens() != int64(tokens) {
					t.Errorf("%d tokens recorded, %d told", r.GetPromptTokens(), tokens)
				}
				for _, try := range r.Tries {
					if try.Status != 200 || try.UpstreamRequestId == "" {
						t.Errorf("%v", try)
					}
				}
			}
		})
	}
}

// One that fails fails them all, with what it says; what is known to be wrong makes no call.
func TestEmbeddingsFail(t *testing.T) {
	t.Parallel()
	g := shared(t)
	c := g.tenant(t, g.SimURL(), settings{id: titan})
	a, err := c.embed(t, t.Context(), []string{"a", "b", "sim:throttle=7 c", "d", "e"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.want(t, 429, "upstream_error")
	if a.header.Get("Retry-After") != "7" {
		t.Errorf("%v", a.header)
	}
	r := c.recordsOf(t, 1)[0]
	throttled := 0
	for _, try := range r.Tries {
		if try.Status == 429 {
			throttled++
		}
	}
	if r.Status != 429 || r.Outcome != usagev1.Outcome_OUTCOME_FAILED || throttled != 1 {
		t.Errorf("%v", r)
	}
	for _, input := range []string{"sim:invalid x", "sim:deny x", "sim:garbage x", "sim:html x"} {
		one, err := c.embed(t, t.Context(), input, nil)
		if err != nil {
			t.Fatal(err)
		}
		several, err := c.embed(t, t.Context(), []string{"a", input}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if one.status < 400 || one.status != several.status || one.body != several.body || strings.Contains(one.body, "arn:") {
			t.Errorf("%s: %d %s alone, %d %s beside another", input, one.status, one.body, several.status, several.body)
		}
	}
	for _, alone := range []bool{true, false} {
		var input any = "a"
		if !alone {
			input = []string{"a", "b", "c"}
		}
		for name, upstream := range map[string]string{
			"nobody": "http://127.0.0.1:1",
			"reset": newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				panic(http.ErrAbortHandler)
			}).URL,
		} {
			d := g.tenant(t, upstream, settings{id: titan})
			a, err := d.embed(t, t.Context(), input, nil)
			if err != nil {
				t.Fatal(err)
			}
			a.want(t, 502, "transport_error")
			if t.Failed() {
				t.Fatalf("%s, alone %v", name, alone)
			}
		}
	}
	chat := g.tenant(t, g.SimURL(), settings{})
	a, err = chat.embed(t, t.Context(), "a", nil)
	if _, _, param := a.fault(); err != nil || a.status != 400 || param != "model" {
		t.Errorf("%d %s %v", a.status, a.body, err)
	}
	a, err = c.chat(t.Context(), "Hello")
	if _, _, param := a.fault(); err != nil || a.status != 400 || param != "model" {
		t.Errorf("%d %s %v", a.status, a.body, err)
	}
}

// The calls of a batch go over TLS as others do, and no more than a few at a time; a caller
// who leaves ends them.
func TestEmbeddingsBesideEachOther(t *testing.T) {
	t.Parallel()
	g := shared(t)
	var open, most, left atomic.Int32
	hold := make(chan struct{})
	u := newTLSUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		n := open.Add(1)
		defer open.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		select {
		case <-hold:
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"embedding":[1,2],"inputTextTokenCount":1}`)
		case <-r.Context().Done():
			left.Add(1)
		}
	})
	c := g.tenant(t, u.URL, settings{id: titan, model: map[string]any{"rate_limit": map[string]any{"tpm": 1000}}})
	texts := strings.Split(strings.Repeat("x,", 19)+"x", ",")
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { _, err := c.embed(t, ctx, texts, nil); gone <- err }()
	eventually(t, patience, func() error {
		if n := open.Load(); n != 8 {
			return fmt.Errorf("%d calls at a time", n)
		}
		return nil
	})
	leave()
	if err := <-gone; err == nil {
		t.Error("an answer for who has left")
	}
	eventually(t, patience, func() error {
		if n := left.Load(); n != 8 || open.Load() != 0 {
			return fmt.Errorf("%d of 8 calls ended with their caller", n)
		}
		return nil
	})
	close(hold)
	vectors, tokens := c.vectors(t, texts, nil)
	if len(vectors) != 20 || tokens != 20 || most.Load() > 8 {
		t.Errorf("%d vectors, %d tokens, %d calls at a time", len(vectors), tokens, most.Load())
	}
	if n := u.requests(); n != 28 {
		t.Errorf("%d requests, want 8 and 20", n)
	}
	a, err := c.embed(t, t.Context(), "x", nil)
	if err != nil || a.status != 200 || a.header.Get("x-ratelimit-limit-tokens") != "1000" {
		t.Errorf("%d %s %v %v", a.status, a.body, a.header, err)
	}
	if left := a.header.Get("x-ratelimit-remaining-tokens"); left > "980" || left < "900" {
		t.Errorf("%s tokens remain", left)
	}
}

// The egress listener is extproc's: its socket is closed to others, and it leads nowhere
// without extproc's headers.
func TestEgressIsExtprocsAlone(t *testing.T) {
	t.Parallel()
	g := shared(t)
	path := strings.TrimPrefix(g.Config.EgressAddress(), "unix:")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Fatalf("%v %v", info, err)
	}
	u := newUpstream(t, nil)
	host := strings.TrimPrefix(u.URL, "http://")
	for _, request := range []string{
		"POST / HTTP/1.1\r\nhost: " + host + "\r\ncontent-length: 0\r\n\r\n",
		"GET " + u.URL + "/ HTTP/1.1\r\nhost: " + host + "\r\n\r\n",
		"CONNECT " + host + " HTTP/1.1\r\nhost: " + host + "\r\n\r\n",
		"POST / HTTP/1.1\r\nhost: " + host + "\r\nx-aisix-egress: plaintext\r\ncontent-length: 0\r\n\r\n",
		"POST / HTTP/1.1\r\nhost: " + host + "\r\nx-aisix-host: " + host + "\r\ncontent-length: 0\r\n\r\n",
	} {
		nc, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(patience))
		io.WriteString(nc, request)
		r, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil || r.StatusCode < 400 {
			t.Errorf("%.30q: %v %v", request, r, err)
		}
		nc.Close()
	}
	if n := u.requests(); n != 0 {
		t.Errorf("%d requests went out", n)
	}
}
