package bedrock

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/cmd/bedrocksim/sigv4"
	"aisix/cmd/bedrocksim/sim"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// models are one of each family, with every form of id.
var models = []string{
	"anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-5-sonnet-20241022-v2:0", "us.anthropic.claude-3-7-sonnet-20250219-v1:0",
	"anthropic.claude-sonnet-4-5-20250929-v1:0", "global.anthropic.claude-opus-4-6-v1", "anthropic.claude-sonnet-5-5",
	"amazon.nova-pro-v1:0", "amazon.nova-micro-v1:0", "us.amazon.nova-2-lite-v1:0", "amazon.titan-text-premier-v1:0",
	"meta.llama3-3-70b-instruct-v1:0", "us.meta.llama4-maverick-17b-instruct-v1:0", "mistral.mistral-large-2407-v1:0", "mistral.mistral-7b-instruct-v0:2",
	"cohere.command-r-plus-v1:0", "ai21.jamba-1-5-large-v1:0", "deepseek.r1-v1:0", "deepseek.v3-v1:0", "openai.gpt-oss-120b-1:0", "qwen.qwen3-32b-v1:0",
	"writer.palmyra-x5-v1:0",
	"arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/ab12cd34ef56",
	"arn:aws:bedrock:us-west-2:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
	"arn:aws:bedrock:us-west-2:123456789012:imported-model/ab12cd34ef56",
}

var (
	png = []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00")
	gif = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00")
	pdf = []byte("%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n%%EOF")
)

func (g generator) some(ttl string, of ...chat.Block) []chat.Block {
	var out []chat.Block
	for _, b := range of {
		if g.IntN(2) == 0 {
			out = append(out, b)
			if g.IntN(6) == 0 {
				out = append(out, chat.CachePoint{TTL: ttl})
			}
		}
	}
	return out
}

// request is a request as a dialect makes it: legal for OpenAI, whatever the model.
func (g generator) request() *chat.Request {
	r := &chat.Request{Stream: g.IntN(2) == 0}
	ttl := g.pick("", "5m", "1h") // a longer one may not come behind a shorter one
	names := []string{"get_weather", "with space", "läuft", "a.b/c", strings.Repeat("long_", 20), "json_output", "hyphen-ated"}
	for _, i := range g.Perm(len(names))[:g.IntN(4)] {
		t := chat.Tool{Name: names[i], Description: g.pick("", "does it", " "), Strict: g.IntN(3) == 0}
		t.Schema = json.RawMessage(g.pick(`{"type":"object","properties":{}}`, `{"type":"object","properties":{"city":{"type":"string","minLength":1}},"required":["city"]}`,
			`{"properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"integer","minimum":3}}}`, `{}`, `{"type":"object","properties":{"z":{"oneOf":[{"type":"null"},{"type":"string","format":"x"}]},"a":{"type":"array","items":{"type":"object","properties":{}},"minItems":2}},"additionalProperties":true}`))
		if g.IntN(4) == 0 {
			t.Schema = nil
		}
		if g.IntN(5) == 0 {
			t.Cache = &chat.CachePoint{TTL: ttl}
		}
		r.Tools = append(r.Tools, t)
	}
	r.ToolChoice.Mode = chat.ToolChoiceMode(g.pick("", "", "auto", "none", "any", "tool"))
	if len(r.Tools) == 0 {
		r.ToolChoice.Mode = ""
	} else if r.ToolChoice.Mode == chat.ToolChoiceTool {
		r.ToolChoice.Name = r.Tools[0].Name
	}
	r.System = g.some(ttl, chat.Text{Text: "be brief"}, chat.Text{Text: " "}, chat.Text{Text: "and kind"})
	add := func(role chat.Role, blocks ...chat.Block) {
		r.Messages = append(r.Messages, chat.Message{Role: role, Blocks: blocks, Param: "messages[" + strconv.Itoa(len(r.Messages)) + "]"})
	}
	user := func() {
		add(chat.User, append(g.some(ttl, chat.Image{Format: "png", Data: png}, chat.Document{Name: g.pick("", "a.b", "Größe  (1)", "x"), Format: g.pick("pdf", "txt", "md"), Data: pdf}, chat.Text{Text: ""}), chat.Text{Text: "say <this> & that\n"})...)
	}
	user()
	for range g.IntN(4) {
		said := g.some(ttl, chat.Thinking{Text: "hm", Signature: "c2ln"}, chat.Thinking{Text: "unsigned"}, chat.Redacted{Data: "AQI="}, chat.Text{Text: "well"}, chat.Text{Text: " "})
		var results []chat.Block
		for i := range g.IntN(3) {
			id := g.pick("toolu_", "call.", "läng", strings.Repeat("x", 70)) + strconv.Itoa(len(r.Messages)) + strconv.Itoa(i)
			said = append(said, chat.ToolUse{ID: id, Name: names[g.IntN(len(names))], Input: json.RawMessage(g.pick(``, `{}`, `{"b":1.50,"a":12345678901234567890}`, `[1]`, `{"cut`))})
			results = append(results, chat.ToolResult{ID: id, IsError: g.IntN(4) == 0, Blocks: g.some(ttl, chat.Text{Text: `{"a":1}`}, chat.Text{Text: " "}, chat.Image{Format: "gif", Data: gif})})
		}
		nothing := func() {
			switch g.IntN(6) {
			case 0:
				add(chat.System, chat.Text{Text: "by the way"}, chat.CachePoint{TTL: ttl})
			case 1:
				add(chat.User, chat.Text{Text: " "})
			case 2:
				add(chat.Assistant)
			}
		}
		nothing()
		add(chat.Assistant, said...)
		nothing()
		if results != nil {
			for _, i := range g.Perm(len(results)) {
				add(chat.User, results[i])
				nothing()
			}
		}
		if results == nil || g.IntN(2) == 0 {
			user()
		}
	}
	maybe := func(f func()) {
		if g.IntN(4) == 0 {
			f()
		}
	}
	maybe(func() { n := 1 + g.IntN(10000); r.MaxTokens = &n })
	maybe(func() { f := g.Float64(); r.Temperature = &f })
	maybe(func() { f := g.Float64(); r.TopP = &f })
	maybe(func() { r.Stop = []string{"END", "\n\nHuman:"} })
	maybe(func() { n := int64(g.IntN(100)); r.Seed = &n })
	maybe(func() { b := g.IntN(2) == 0; r.ParallelToolCalls = &b })
	maybe(func() { r.User = g.pick("u-1", "a@b.c") })
	maybe(func() { r.Metadata = map[string]string{"team": "x y", "ignored": "ü"} })
	maybe(func() {
		r.Reasoning = &chat.Reasoning{Effort: g.pick("none", "minimal", "low", "medium", "high", "xhigh", "max")}
	})
	maybe(func() {
		r.Format = &chat.Format{Name: "answer", Description: g.pick("", "an answer"), Strict: true, Schema: json.RawMessage(g.pick(`{"type":"object","properties":{"n":{"type":"integer","minimum":1}},"required":["n"]}`, `{"type":"object","properties":{"l":{"type":"array","items":{"$ref":"#/$defs/X"}}},"$defs":{"X":{"type":"object","properties":{"a":{"const":1}}}}}`))}
		if g.IntN(3) == 0 {
			r.Format = &chat.Format{}
		}
	})
	return r
}

func (g generator) options() resource.Bedrock {
	var o resource.Bedrock
	if g.IntN(3) > 0 {
		return o
	}
	n := 500
	o.MaxTokens = &n
	o.GuardrailConfig = &resource.GuardrailConfig{Identifier: "abc123", Version: g.pick("DRAFT", "1"), Trace: g.pick("", "enabled", "enabled_full"), StreamMode: g.pick("", "sync", "async")}
	o.PerformanceConfig = &resource.Performance{Latency: "standard"}
	o.ServiceTier = &resource.ServiceTier{Type: g.pick("default", "flex", "reserved")}
	o.RequestMetadata = map[string]string{"app": "gateway"}
	return o
}

// callersOwn is what Bedrock says of combinations that a caller asked for: they
// are passed on, for it to say so.
var callersOwn = []string{
	"cannot both be specified",
}

// What we send, a strict server written by somebody else takes; what we refuse
// ourselves is a 400 that says what to change. Signatures are checked on the way.
//
// With BEDROCK_DUMP set to a file, every request goes there as a line of JSON, to
// be checked against AWS's service model by hand (docs/extending.md).
func TestAStrictServerTakesWhatWeSend(t *testing.T) {
	long := token
	long.SessionToken = ""
	v := &sigv4.Verifier{Keys: map[string][]sigv4.Key{"AKIDEXAMPLE": {{Secret: "secret"}}}, Service: "bedrock", Region: "us-west-2", Skew: time.Minute, Now: func() time.Time { return signedAt }}
	server := sim.New(v, slog.New(slog.DiscardHandler))
	var dump *json.Encoder
	n := 12
	if path := os.Getenv("BEDROCK_DUMP"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		dump, n = json.NewEncoder(f), 200
	}
	taken, refused := 0, map[string]int{}
	for _, model := range models {
		for seed := range n {
			g := generator{rand.New(rand.NewPCG(uint64(seed), 11))}
			req := g.request()
			to := compile(&resource.Model{ModelName: model, Bedrock: g.options()})
			before, _ := json.Marshal(req)
			c, err := NewCall(t.Context(), req, to, bodyLimit)
			if after, _ := json.Marshal(req); !bytes.Equal(before, after) {
				t.Fatalf("%s, seed %d: the request was changed", model, seed)
			}
			var f *fault.Error
			if errors.As(err, &f) {
				if f.Status != 400 || f.Param == "" || f.Message == "" {
					t.Errorf("%s, seed %d: %v", model, seed, err)
				}
				refused[f.Param+": "+f.Message]++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			again, err := NewCall(t.Context(), req, to, bodyLimit)
			if err != nil || canonical(t, again.body) != canonical(t, c.body) {
				t.Fatalf("%s, seed %d: encoded twice, it differs", model, seed)
			}
			s, err := c.Sign(long, signedAt)
			if err != nil {
				t.Fatal(err)
			}
			if dump != nil {
				if err := dump.Encode(map[string]any{"path": c.address.url.EscapedPath(), "header": s.Header(), "body": json.RawMessage(c.body)}); err != nil {
					t.Fatal(err)
				}
			}
			r := onTheWire(t, s)
			r.RemoteAddr = "127.0.0.1:1"
			w := httptest.NewRecorder()
			server.ServeHTTP(w, r)
			if w.Code != 200 {
				if !slices.ContainsFunc(callersOwn, func(words string) bool { return strings.Contains(w.Body.String(), words) }) {
					t.Errorf("%s, seed %d: %d %s\n%s", model, seed, w.Code, w.Body, c.body)
				}
				continue
			}
			taken++
			decode := func() ([]chat.Event, error) { return c.reply(w.Code, w.Header()).Whole(w.Body.Bytes()) }
			if c.stream {
				if !c.reply(w.Code, w.Header()).IsStream() {
					t.Fatalf("%s, seed %d: not a stream", model, seed)
				}
				decode = func() ([]chat.Event, error) { return all(t, c.reply(200, nil).Events(w.Body)), nil }
			}
			events, err := decode()
			if err != nil {
				t.Fatalf("%s, seed %d: %v", model, seed, err)
			}
			if _, err := chat.Collect(events); err != nil {
				t.Errorf("%s, seed %d: %v", model, seed, err)
			}
		}
	}
	if taken < len(models)*n/3 {
		t.Errorf("only %d of %d were taken: %v", taken, len(models)*n, refused)
	}
	if testing.Verbose() {
		for what, n := range refused {
			t.Log(n, what)
		}
	}
}

// FuzzNewCall makes requests out of a seed: what comes out is one JSON object, the
// same each time (but for the order of requestMetadata, a map in the SDK), or a
// 400.
func FuzzNewCall(f *testing.F) {
	for i := range models {
		f.Add(uint64(i), uint8(i), "")
	}
	f.Add(uint64(1), uint8(3), "\xff")
	f.Add(uint64(2), uint8(6), `{"type":["object","null"],"properties":{"a":true}}`)
	f.Add(uint64(3), uint8(3), `{"$ref":"#"}`)
	f.Fuzz(func(t *testing.T, seed uint64, model uint8, schema string) {
		g := generator{rand.New(rand.NewPCG(seed, 13))}
		req := g.request()
		if json.Valid([]byte(schema)) { // dialects see to that
			for i := range req.Tools {
				req.Tools[i].Schema = json.RawMessage(schema)
			}
			if req.Format != nil {
				req.Format.Schema = json.RawMessage(schema)
			}
		}
		to := compile(&resource.Model{ModelName: models[int(model)%len(models)], Bedrock: g.options()})
		c, err := NewCall(t.Context(), req, to, bodyLimit)
		var fe *fault.Error
		if errors.As(err, &fe) {
			if fe.Status != 400 {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		var body map[string]json.RawMessage
		if err := json.Unmarshal(c.body, &body); err != nil {
			t.Fatalf("%v in %s", err, c.body)
		}
		if again, err := NewCall(t.Context(), req, to, bodyLimit); err != nil || canonical(t, again.body) != canonical(t, c.body) {
			t.Errorf("encoded twice, it differs: %v", err)
		}
	})
}
