package exchange

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// generated is what the generated types make of one of Envoy's messages, in our form.
func generated(b []byte) (message, error) {
	var p extprocv3.ProcessingRequest
	if err := proto.Unmarshal(b, &p); err != nil {
		return message{}, err
	}
	var m message
	headers := func(h *corev3.HeaderMap) {
		for _, kv := range h.GetHeaders() {
			value := kv.GetValue()
			if len(kv.GetRawValue()) > 0 {
				value = string(kv.GetRawValue())
			}
			m.field(kv.GetKey(), value)
		}
	}
	switch r := p.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		m.kind, m.end = requestHeaders, r.RequestHeaders.GetEndOfStream()
		headers(r.RequestHeaders.GetHeaders())
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		m.kind, m.end = responseHeaders, r.ResponseHeaders.GetEndOfStream()
		headers(r.ResponseHeaders.GetHeaders())
	case *extprocv3.ProcessingRequest_RequestBody:
		m.kind, m.body, m.end = requestBody, r.RequestBody.GetBody(), r.RequestBody.GetEndOfStream()
	case *extprocv3.ProcessingRequest_ResponseBody:
		m.kind, m.body, m.end = responseBody, r.ResponseBody.GetBody(), r.ResponseBody.GetEndOfStream()
	case *extprocv3.ProcessingRequest_RequestTrailers:
		m.kind = requestTrailers
		headers(r.RequestTrailers.GetTrailers())
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		m.kind = responseTrailers
		headers(r.ResponseTrailers.GetTrailers())
	}
	a := p.GetAttributes()[attributes].GetFields()
	m.sourceAddress, m.codeDetails = a[attributeSource].GetStringValue(), a[attributeDetails].GetStringValue()
	if c := p.GetProtocolConfig(); c != nil {
		m.modes, m.requestMode, m.responseMode = true, int32(c.GetRequestBodyMode()), int32(c.GetResponseBodyMode())
	}
	return m, nil
}

func same(a, b message) bool {
	if len(a.fields) != len(b.fields) {
		return false
	}
	for i := range a.fields {
		if a.fields[i] != b.fields[i] {
			return false
		}
	}
	bodies := bytes.Equal(a.body, b.body)
	return bodies && a.kind == b.kind && a.pseudo == b.pseudo && a.end == b.end && a.sourceAddress == b.sourceAddress &&
		a.codeDetails == b.codeDetails && a.modes == b.modes && a.requestMode == b.requestMode && a.responseMode == b.responseMode
}

func randomText(r *rand.Rand, most int) string {
	return strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(most))
}

func randomMessage(r *rand.Rand) *extprocv3.ProcessingRequest {
	m := &corev3.HeaderMap{}
	for range r.IntN(12) {
		key := []string{":path", ":method", ":status", ":authority", ":scheme", "Content-Type", "x-a", ""}[r.IntN(8)]
		kv := &corev3.HeaderValue{Key: key, RawValue: []byte(randomText(r, 300))}
		if r.IntN(3) == 0 {
			kv.Value = randomText(r, 9)
		}
		m.Headers = append(m.Headers, kv)
	}
	body := []byte(randomText(r, 1<<uint(r.IntN(18))))
	end := r.IntN(2) == 0
	p := &extprocv3.ProcessingRequest{}
	switch r.IntN(7) {
	case 0:
		p.Request = &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{Headers: m, EndOfStream: end}}
	case 1:
		p.Request = &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &extprocv3.HttpHeaders{Headers: m, EndOfStream: end}}
	case 2:
		p.Request = &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{Body: body, EndOfStream: end, EndOfStreamWithoutMessage: end}}
	case 3:
		p.Request = &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: &extprocv3.HttpBody{Body: body, EndOfStream: end}}
	case 4:
		p.Request = &extprocv3.ProcessingRequest_RequestTrailers{RequestTrailers: &extprocv3.HttpTrailers{Trailers: m}}
	case 5:
		p.Request = &extprocv3.ProcessingRequest_ResponseTrailers{ResponseTrailers: &extprocv3.HttpTrailers{Trailers: m}}
	}
	if r.IntN(2) == 0 {
		p.ProtocolConfig = &extprocv3.ProtocolConfiguration{RequestBodyMode: filterv3.ProcessingMode_BodySendMode(r.IntN(5)), ResponseBodyMode: filterv3.ProcessingMode_BodySendMode(r.IntN(5))}
	}
	if r.IntN(2) == 0 {
		p.Attributes = map[string]*structpb.Struct{
			attributes: {Fields: map[string]*structpb.Value{
				attributeSource: structpb.NewStringValue(randomText(r, 30)), attributeDetails: structpb.NewStringValue(randomText(r, 30)), "other": structpb.NewNumberValue(1),
			}},
			"another": {Fields: map[string]*structpb.Value{attributeSource: structpb.NewStringValue("no")}},
		}
	}
	return p
}

// What Envoy says is read as the generated types read it.
func TestMessages(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		p := randomMessage(r)
		b, err := proto.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		want, err := generated(b)
		if err != nil {
			t.Fatal(err)
		}
		var got message
		if err := got.Decode(b); err != nil || !same(got, want) {
			t.Fatalf("%v\nis %+v (%v)\nwant %+v", p, got, err, want)
		}
	}
}

// Bytes that the generated types take are read the same, but for what occurs twice,
// where Envoy says all once: there they merge.
func FuzzMessage(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		b, _ := proto.Marshal(randomMessage(r))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got message
		if got.Decode(b) != nil {
			return
		}
		var p extprocv3.ProcessingRequest
		if proto.Unmarshal(b, &p) != nil {
			return
		}
		canonical, err := proto.MarshalOptions{Deterministic: true}.Marshal(&p)
		if err != nil {
			t.Fatal(err)
		}
		want, err := generated(canonical)
		var again message
		if err2 := again.Decode(canonical); err != nil || err2 != nil || !same(again, want) {
			t.Fatalf("%x: %+v %v, want %+v %v", canonical, again, err2, want, err)
		}
	})
}

// What we say is what the generated types say.
func TestAnswers(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		a := &answer{
			kind: []kind{requestHeaders, responseHeaders, requestBody, responseBody, requestTrailers, responseTrailers, immediate, immediateStream}[r.IntN(8)],
			body: []byte(randomText(r, 1<<uint(r.IntN(18)))), end: r.IntN(2) == 0, clear: r.IntN(2) == 0, bodyKind: bodyKind(r.IntN(3)),
			status: 200 + r.IntN(400), details: randomText(r, 40),
		}
		for range r.IntN(6) {
			a.set = append(a.set, KeyValue{randomText(r, 20), randomText(r, 300)})
		}
		for range r.IntN(6) {
			a.remove = append(a.remove, randomText(r, 20))
		}
		if r.IntN(2) == 0 {
			a.own = Own{[]string{"", DoorAnthropic}[r.IntN(2)], randomText(r, 256)}
		}
		var got extprocv3.ProcessingResponse
		if err := proto.Unmarshal(a.Append([]byte("before"))[6:], &got); err != nil {
			t.Fatal(err)
		}
		if want := a.generated(); !proto.Equal(&got, want) {
			t.Fatalf("%v\nwant %v", &got, want)
		}
	}
}

func (a *answer) generated() *extprocv3.ProcessingResponse {
	var mutation *extprocv3.HeaderMutation
	if trailers := a.kind == requestTrailers || a.kind == responseTrailers || a.kind == immediate; trailers || len(a.set)+len(a.remove) > 0 {
		mutation = &extprocv3.HeaderMutation{RemoveHeaders: a.remove}
		for _, kv := range a.set {
			mutation.SetHeaders = append(mutation.SetHeaders, &corev3.HeaderValueOption{
				Header:       &corev3.HeaderValue{Key: kv.Key, RawValue: []byte(kv.Value)},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			})
		}
	}
	common := &extprocv3.CommonResponse{HeaderMutation: mutation, ClearRouteCache: a.clear}
	switch {
	case a.bodyKind == wholeBody && len(a.body) == 0:
		common.BodyMutation = &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_ClearBody{ClearBody: true}}
	case a.bodyKind == wholeBody:
		common.BodyMutation = &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_Body{Body: a.body}}
	case a.bodyKind == streamedBody:
		common.BodyMutation = &extprocv3.BodyMutation{Mutation: &extprocv3.BodyMutation_StreamedResponse{
			StreamedResponse: &extprocv3.StreamedBodyResponse{Body: a.body, EndOfStream: a.end},
		}}
	}
	p := &extprocv3.ProcessingResponse{}
	if a.own != (Own{}) {
		says := map[string]any{}
		if a.own.Door != "" {
			says["door"] = a.own.Door
		}
		if a.own.RequestID != "" {
			says["request_id"] = a.own.RequestID
		}
		p.DynamicMetadata, _ = structpb.NewStruct(map[string]any{"aisix": says})
	}
	switch a.kind {
	case requestHeaders:
		p.Response = &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{Response: common}}
	case responseHeaders:
		p.Response = &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extprocv3.HeadersResponse{Response: common}}
	case requestBody:
		p.Response = &extprocv3.ProcessingResponse_RequestBody{RequestBody: &extprocv3.BodyResponse{Response: common}}
	case responseBody:
		p.Response = &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: &extprocv3.BodyResponse{Response: common}}
	case requestTrailers:
		p.Response = &extprocv3.ProcessingResponse_RequestTrailers{RequestTrailers: &extprocv3.TrailersResponse{HeaderMutation: mutation}}
	case responseTrailers:
		p.Response = &extprocv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: &extprocv3.TrailersResponse{HeaderMutation: mutation}}
	case immediate:
		p.Response = &extprocv3.ProcessingResponse_ImmediateResponse{ImmediateResponse: &extprocv3.ImmediateResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode(a.status)}, Headers: mutation, Body: a.body, Details: a.details,
		}}
	case immediateStream:
		r := &extprocv3.StreamedImmediateResponse{}
		if a.bodyKind == streamedBody {
			r.Response = &extprocv3.StreamedImmediateResponse_BodyResponse{BodyResponse: &extprocv3.StreamedBodyResponse{Body: a.body, EndOfStream: a.end}}
		} else {
			m := &corev3.HeaderMap{}
			for _, kv := range a.set {
				m.Headers = append(m.Headers, &corev3.HeaderValue{Key: kv.Key, RawValue: []byte(kv.Value)})
			}
			r.Response = &extprocv3.StreamedImmediateResponse_HeadersResponse{HeadersResponse: &extprocv3.HttpHeaders{Headers: m}}
		}
		p.Response = &extprocv3.ProcessingResponse_StreamedImmediateResponse{StreamedImmediateResponse: r}
	}
	return p
}
