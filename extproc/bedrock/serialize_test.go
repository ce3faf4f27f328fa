package bedrock

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/bedrock/sigv4"
	"aisix/extproc/chat"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/schemas"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// sdkRequest is what the SDK's serializer makes of an operation's input.
func sdkRequest(t *testing.T, op *smithy.OperationSchema, in smithy.Serializable) (path string, header []Field, body string) {
	t.Helper()
	req := smithyhttp.NewStackRequest().(*smithyhttp.Request)
	if err := whole.SerializeRequest(context.Background(), op, in, req); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(req.GetStream())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		if name != "Content-Length" {
			header = append(header, Field{Key: strings.ToLower(name), Value: req.Header.Get(name)})
		}
	}
	slices.SortFunc(header, sigv4.ByName)
	return req.URL.EscapedPath(), header, string(b)
}

// The header, the path and Converse's body are the SDK's, byte for byte, for whatever
// request of every family. (InvokeModel's body is Anthropic's: TestAppend.)
func TestSerializedAsTheSDKDoes(t *testing.T) {
	op := func(op, in, out *smithy.Schema) *smithy.OperationSchema {
		return smithy.NewOperationSchema(op, in, out)
	}
	compared := 0
	for _, model := range append(slices.Clone(models), "imported;x +ä%2F~a_b") {
		for seed := range uint64(40) {
			g := generator{rand.New(rand.NewPCG(seed, 17))}
			req := g.request()
			options := g.options()
			if g.IntN(3) == 0 {
				options.RequestMetadata = map[string]string{"team": "a  b", "x": " y=<z>"}
			}
			to := compile(&resource.Model{ModelName: model, Bedrock: options})
			p, err := prepare(t.Context(), req, to, bodyLimit)
			if err != nil {
				continue
			}
			if len(labels(p)) > 1 && !p.invokes { // a map, in the SDK: in any order
				p.knobs.metadata, p.req.Metadata = nil, nil
			}
			compared++
			at := to.addressed[operationOf(p.api, req.Stream)]
			check := func(w wireRequest, path string, header []Field, body string) {
				t.Helper()
				if at.path != path {
					t.Fatalf("%s: path %s, want %s", model, at.path, path)
				}
				if !slices.Equal(w.header, header) {
					t.Fatalf("%s: header %v, want %v", model, w.header, header)
				}
				if string(w.body) != body {
					t.Fatalf("%s, seed %d: body\n%s\nwant\n%s", model, seed, w.body, body)
				}
			}
			if p.invokes {
				w, err := encodeInvoke(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				in := sdkInvokeInput(p, w.body)
				if !req.Stream {
					path, header, body := sdkRequest(t, op(schemas.InvokeModel, schemas.InvokeModelRequest, schemas.InvokeModelResponse), in)
					check(w, path, header, body)
					continue
				}
				path, header, body := sdkRequest(t, op(schemas.InvokeModelWithResponseStream, schemas.InvokeModelWithResponseStreamRequest, schemas.InvokeModelWithResponseStreamResponse), &bedrockruntime.InvokeModelWithResponseStreamInput{
					ModelId: in.ModelId, Body: in.Body, ContentType: in.ContentType, Accept: in.Accept,
					GuardrailIdentifier: in.GuardrailIdentifier, GuardrailVersion: in.GuardrailVersion, Trace: in.Trace,
					PerformanceConfigLatency: in.PerformanceConfigLatency, ServiceTier: in.ServiceTier, RequestMetadata: in.RequestMetadata,
				})
				check(w, path, header, body)
				continue
			}
			whole, stream, err := converseInputs(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			id := to.ID
			if !req.Stream {
				w := serialize(whole, p.req)
				whole.ModelId = &id
				path, header, body := sdkRequest(t, converseSchema, whole)
				check(w, path, header, body)
				continue
			}
			w := serialize(stream, p.req)
			stream.ModelId = &id
			path, header, body := sdkRequest(t, op(schemas.ConverseStream, schemas.ConverseStreamRequest, schemas.ConverseStreamResponse), stream)
			check(w, path, header, body)
		}
	}
	if compared < 500 {
		t.Errorf("only %d requests were compared", compared)
	}
}

// sdkInvokeInput is InvokeModel's input as the SDK has it.
func sdkInvokeInput(p *prepared, body []byte) *bedrockruntime.InvokeModelInput {
	mime := contentType
	in := &bedrockruntime.InvokeModelInput{ModelId: &p.model.ID, Body: body, ContentType: &mime, Accept: &mime}
	if g := p.knobs.guardrail; g != nil {
		in.GuardrailIdentifier, in.GuardrailVersion = &g.Identifier, &g.Version
		in.Trace = types.Trace(strings.ToUpper(g.Trace))
	}
	if x := p.knobs.performance; x != nil {
		in.PerformanceConfigLatency = types.PerformanceConfigLatency(x.Latency)
	}
	if x := p.knobs.tier; x != nil {
		in.ServiceTier = types.ServiceTierType(x.Type)
	}
	if l := labels(p); l != nil {
		s := string(marshal(l))
		in.RequestMetadata = &s
	}
	return in
}

// Texts that have to be escaped mean the same as by the SDK's serializer, which writes
// some control characters in another way.
func FuzzConverseTexts(f *testing.F) {
	f.Add("a \"b\" \\ \n\b\f\x01 <&> ä \u2028 \U0001f600", "x y/z")
	f.Fuzz(func(t *testing.T, text, id string) {
		message := types.Message{Role: types.ConversationRoleUser, Content: []types.ContentBlock{&types.ContentBlockMemberText{Value: text}}}
		in := &bedrockruntime.ConverseInput{Messages: []types.Message{message}, RequestMetadata: map[string]string{text: text}}
		got := serialize(in, &chat.Request{}).body
		id = "m" + id
		in.ModelId = &id
		path, _, want := sdkRequest(t, converseSchema, in)
		var a, b any
		if err := json.Unmarshal(got, &a); err != nil {
			t.Fatalf("%v in %s", err, got)
		}
		if err := json.Unmarshal([]byte(want), &b); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Errorf("%s\nwant %s", got, want)
		}
		if at := (&Model{ID: id, family: &family{}}).addresses(&url.URL{Scheme: "https", Host: "h"})[opConverse]; at.path != path {
			t.Errorf("path %s, want %s", at.path, path)
		}
	})
}

// An image that came in base64 goes out as it would have decoded and encoded again,
// wherever it stands.
func TestImagesThatCameInBase64(t *testing.T) {
	for _, model := range []string{claude45, nova, opaqueARN} {
		var bodies []string
		for _, image := range []chat.Image{{Format: "png", Data: png}, {Format: "png", Base64: []byte(base64.StdEncoding.EncodeToString(png))}} {
			r := userSays("What is this?")
			r.Messages[0].Blocks = append(r.Messages[0].Blocks, image, chat.Image{Format: "gif", Data: gif})
			r.Messages = append(r.Messages,
				chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.ToolUse{ID: "c1", Name: "f", Input: json.RawMessage(`{}`)}}},
				chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "c1", Blocks: []chat.Block{image}}}})
			bodies = append(bodies, string(newCall(t, r, target(model)).body))
		}
		if bodies[0] != bodies[1] || strings.Count(bodies[0], base64.StdEncoding.EncodeToString(png)) != 2 {
			t.Errorf("%s: %s\nwant %s", model, bodies[1], bodies[0])
		}
	}
}

// A file is written into the body once: nothing else of its size is made.
func TestFilesAreCopiedOnce(t *testing.T) {
	data := append(bytes.Clone(png), make([]byte, 4<<20)...)
	for _, model := range []string{claude45, nova} {
		r := userSays("What is this?")
		r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.Image{Format: "png", Data: data})
		to := target(model)
		newCall(t, r, to) // warm
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		newCall(t, r, to)
		runtime.ReadMemStats(&after)
		got := int64(after.TotalAlloc - before.TotalAlloc)
		if most := int64(len(data)) * 3 / 2; got > most {
			t.Errorf("%s: %d bytes are allocated for an image of %d, want at most %d", model, got, len(data), most)
		}
	}
}
