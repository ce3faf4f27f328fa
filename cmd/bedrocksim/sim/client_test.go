package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"aisix/cmd/bedrocksim/sigv4"
)

// The door of these tests: a simulator on a socket, the AWS SDK's own client, and requests that the
// SDK's signer signs, where the client would not send such a body.

const (
	claude = "anthropic.claude-sonnet-4-5-20250929-v1:0"
	nova   = "amazon.nova-pro-v1:0"
	llama  = "us.meta.llama3-3-70b-instruct-v1:0"
)

type simulator struct {
	*httptest.Server
	client *bedrockruntime.Client
}

func start(t testing.TB) *simulator {
	t.Helper()
	v := &sigv4.Verifier{Keys: map[string][]sigv4.Key{"AKID": {{Secret: "secret"}}}, Service: "bedrock", Skew: time.Minute, Now: time.Now}
	server := httptest.NewServer(New(v, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // those that stall
	return &simulator{server, clientOf(server.URL, aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"})}
}

func clientOf(url string, creds aws.Credentials) *bedrockruntime.Client {
	return bedrockruntime.New(bedrockruntime.Options{
		Region: "us-west-2", BaseEndpoint: aws.String(url), Retryer: aws.NopRetryer{}, HTTPClient: &http.Client{Transport: plainBody{}},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return creds, nil }),
	})
}

// plainBody hides that a request's body can write itself: smithy-go's closes it as soon as there is an
// answer, and WriteTo then fails with EOF (Read does not), for which net/http closes the connection
// under an answer that came fast.
type plainBody struct{}

func (plainBody) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Body = struct {
		io.Reader
		io.Closer
	}{r.Body, r.Body}
	return http.DefaultTransport.RoundTrip(r)
}

// post sends a signed body, whatever it is.
func (s *simulator) post(t testing.TB, model, operation string, body []byte, headers ...string) *http.Response {
	t.Helper()
	return s.send(t, "POST", "/model/"+escape(model)+"/"+operation, "bedrock", body, headers...)
}

// send sends a body to any path, signed for a service; without one it is not signed, and headers tell
// who asks.
func (s *simulator) send(t testing.TB, method, path, service string, body []byte, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	sum := sha256.Sum256(body)
	if service != "" {
		err = v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}, r, hex.EncodeToString(sum[:]), service, "us-west-2", time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func escape(model string) string {
	return string(bytes.ReplaceAll(bytes.ReplaceAll([]byte(model), []byte(":"), []byte("%3A")), []byte("/"), []byte("%2F")))
}

// refused is the exception and message of an answer that is none.
func refused(t testing.TB, r *http.Response) (kind, message string) {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Message string }
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	kind, _, _ = bytesCut(r.Header.Get("X-Amzn-Errortype"))
	return kind, answer.Message
}

func bytesCut(s string) (before, after string, found bool) {
	b, a, ok := bytes.Cut([]byte(s), []byte(":"))
	return string(b), string(a), ok
}

// put sets the control words that every request obeys, and tells the status.
func (s *simulator) put(t testing.TB, words string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "PUT", s.URL+"/_sim/behaviour", bytes.NewBufferString(words))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

// recorded is what GET /_sim/calls tells.
type recorded struct {
	Total, Open int
	Calls       []Call
}

func (s *simulator) recorded(t testing.TB) recorded {
	t.Helper()
	response, err := http.Get(s.URL + "/_sim/calls")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var r recorded
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// answerOf is the status and the exception of what the SDK returned.
func answerOf(err error) (status int, kind, message string) {
	var r *smithyhttp.ResponseError
	if errors.As(err, &r) {
		status = r.HTTPStatusCode()
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		kind, message = api.ErrorCode(), api.ErrorMessage()
	}
	return status, kind, message
}

func said(text string) []types.Message {
	return []types.Message{{Role: types.ConversationRoleUser, Content: []types.ContentBlock{&types.ContentBlockMemberText{Value: text}}}}
}

// asked is a body for InvokeModel.
func asked(text string) []byte {
	return marshal(object{"anthropic_version": "bedrock-2023-05-31", "max_tokens": 4096, "messages": []any{object{"role": "user", "content": text}}})
}

func (s *simulator) converse(ctx context.Context, model, text string) (*bedrockruntime.ConverseOutput, error) {
	return s.client.Converse(ctx, &bedrockruntime.ConverseInput{ModelId: &model, Messages: said(text)})
}

// heard is what a stream said: text, reasoning, tool input, stop reason, tokens, and how it ended.
type heard struct {
	text, reasoning, input, stop string
	redacted                     []byte
	tool, signature              string
	events                       int
	total                        int32
	err                          error
}

func (s *simulator) converseStream(ctx context.Context, model, text string) heard {
	out, err := s.client.ConverseStream(ctx, &bedrockruntime.ConverseStreamInput{ModelId: &model, Messages: said(text)})
	if err != nil {
		return heard{err: err}
	}
	return listen(out)
}

func listen(out *bedrockruntime.ConverseStreamOutput) heard {
	var h heard
	stream := out.GetStream()
	defer stream.Close()
	for e := range stream.Events() {
		h.events++
		switch e := e.(type) {
		case *types.ConverseStreamOutputMemberContentBlockStart:
			h.tool = *e.Value.Start.(*types.ContentBlockStartMemberToolUse).Value.Name
		case *types.ConverseStreamOutputMemberContentBlockDelta:
			switch d := e.Value.Delta.(type) {
			case *types.ContentBlockDeltaMemberText:
				h.text += d.Value
			case *types.ContentBlockDeltaMemberToolUse:
				h.input += *d.Value.Input
			case *types.ContentBlockDeltaMemberReasoningContent:
				switch r := d.Value.(type) {
				case *types.ReasoningContentBlockDeltaMemberText:
					h.reasoning += r.Value
				case *types.ReasoningContentBlockDeltaMemberSignature:
					h.signature += r.Value
				case *types.ReasoningContentBlockDeltaMemberRedactedContent:
					h.redacted = append(h.redacted, r.Value...)
				}
			}
		case *types.ConverseStreamOutputMemberMessageStop:
			h.stop = string(e.Value.StopReason)
		case *types.ConverseStreamOutputMemberMetadata:
			h.total = *e.Value.Usage.TotalTokens
		}
	}
	h.err = stream.Err()
	return h
}

// claudeEvents are the events in the chunks of an InvokeModelWithResponseStream.
func (s *simulator) claudeEvents(ctx context.Context, text string) (events []object, err error) {
	out, err := s.client.InvokeModelWithResponseStream(ctx, &bedrockruntime.InvokeModelWithResponseStreamInput{
		ModelId: aws.String(claude), ContentType: aws.String("application/json"), Body: asked(text),
	})
	if err != nil {
		return nil, err
	}
	stream := out.GetStream()
	defer stream.Close()
	for e := range stream.Events() {
		v, err := parse(e.(*types.ResponseStreamMemberChunk).Value.Bytes)
		if err != nil {
			return nil, err
		}
		events = append(events, v.(object))
	}
	return events, stream.Err()
}
