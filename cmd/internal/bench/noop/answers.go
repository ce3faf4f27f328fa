package noop

import (
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"
)

// pieceSize is the longest body message sent to Envoy, as extproc/exchange has it.
const pieceSize = 1 << 20

// What the answers that are always the same look like on the wire. The callers are
// told in a word or two what a gateway would tell them.
var (
	whole = `{"id":"chatcmpl-0123456789","object":"chat.completion","created":1700000000,"model":"bench","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("The gateway ", 75) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":212,"completion_tokens":190,"total_tokens":402}}`
	chunk = `data: {"id":"chatcmpl-0123456789","object":"chat.completion.chunk","created":1700000000,"model":"bench","choices":[{"index":0,"delta":{"content":"The gateway answers "},"finish_reason":null}]}` + "\n\n"
	done  = "data: [DONE]\n\n"

	wholeAnswer  = wire(body(responseBody, []byte(whole), true))
	chunkAnswer  = wire(body(responseBody, []byte(chunk), false))
	lastAnswer   = wire(body(responseBody, []byte(chunk+done), true))
	doneAnswer   = wire(body(responseBody, []byte(done), true))
	trailers     = wire(&extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestTrailers{RequestTrailers: &extprocv3.TrailersResponse{}}})
	lastTrailers = wire(&extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseTrailers{ResponseTrailers: &extprocv3.TrailersResponse{}}})
	replyHeaders = map[bool][]byte{false: reply("application/json"), true: reply("text/event-stream")} // by whether it streams
)

// signed is the answer to the request's headers: those of a request that is rewritten
// and signed.
func signed(path string, size int) []byte {
	const hex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	return wire(headers(requestHeaders, &extprocv3.HeaderMutation{
		SetHeaders: []*corev3.HeaderValueOption{
			header(":path", path),
			header("authorization", "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261123/us-east-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date, Signature="+hex),
			header("x-amz-date", "20261123T050000Z"),
			header("x-amz-content-sha256", hex),
			header("content-type", "application/json"),
			header("content-length", strconv.Itoa(size)), // Envoy answers 500 where the body is another
		},
		RemoveHeaders: []string{"x-api-key"},
	}))
}

func reply(contentType string) []byte {
	return wire(headers(responseHeaders, &extprocv3.HeaderMutation{
		SetHeaders:    []*corev3.HeaderValueOption{header("content-type", contentType)},
		RemoveHeaders: []string{"content-length", "x-amzn-requestid"},
	}))
}

// pieces are the messages of a request's body.
func pieces(b []byte) (messages [][]byte) {
	for {
		n := min(len(b), pieceSize)
		messages = append(messages, wire(body(requestBody, b[:n], n == len(b))))
		if b = b[n:]; len(b) == 0 {
			return messages
		}
	}
}

func header(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, RawValue: []byte(value)},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

func headers(p phase, m *extprocv3.HeaderMutation) *extprocv3.ProcessingResponse {
	h := &extprocv3.HeadersResponse{Response: &extprocv3.CommonResponse{HeaderMutation: m}}
	if p == requestHeaders {
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: h}}
	}
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseHeaders{ResponseHeaders: h}}
}

func body(p phase, b []byte, end bool) *extprocv3.ProcessingResponse {
	r := &extprocv3.BodyResponse{Response: &extprocv3.CommonResponse{BodyMutation: &extprocv3.BodyMutation{
		Mutation: &extprocv3.BodyMutation_StreamedResponse{StreamedResponse: &extprocv3.StreamedBodyResponse{Body: b, EndOfStream: end}},
	}}}
	if p == requestBody {
		return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestBody{RequestBody: r}}
	}
	return &extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_ResponseBody{ResponseBody: r}}
}

// wire is m's bytes. Marshalling fails only for text that is not UTF-8: a broken build.
func wire(m *extprocv3.ProcessingResponse) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}
