package sim

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"

	"aisix/cmd/bedrocksim/sigv4"
)

// The AWS SDK's own client is the judge of shapes, frames and checksums here.

const (
	claude = "anthropic.claude-3-5-sonnet-20241022-v2:0"
	nova   = "amazon.nova-pro-v1:0"
)

// started is a server with the page's placeholders for a key, and a client of it.
func started(t *testing.T) (*bedrockruntime.Client, string) {
	t.Helper()
	v := &sigv4.Verifier{Keys: map[string][]sigv4.Key{"AKID": {{Secret: "secret"}}}, Service: "bedrock", Skew: time.Minute, Now: time.Now}
	server := httptest.NewServer(New(v, slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // those that stall
	return clientOf(server.URL, "secret"), server.URL
}

func clientOf(url, secret string) *bedrockruntime.Client {
	return bedrockruntime.New(bedrockruntime.Options{
		Region: "us-west-2", BaseEndpoint: aws.String(url), Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: secret}, nil
		}),
	})
}

func said(text string) []types.Message {
	return []types.Message{{Role: types.ConversationRoleUser, Content: []types.ContentBlock{&types.ContentBlockMemberText{Value: text}}}}
}

func TestConverseAnswersWhatWasAsked(t *testing.T) {
	client, _ := started(t)
	out, err := client.Converse(t.Context(), &bedrockruntime.ConverseInput{ModelId: aws.String(nova), Messages: said("What is up?")})
	if err != nil {
		t.Fatal(err)
	}
	message := out.Output.(*types.ConverseOutputMemberMessage).Value
	if got := message.Content[0].(*types.ContentBlockMemberText).Value; got != "You said: What is up?" || out.StopReason != types.StopReasonEndTurn {
		t.Errorf("answer %q, stop reason %s", got, out.StopReason)
	}
	if u := out.Usage; *u.InputTokens == 0 || *u.OutputTokens == 0 || *u.TotalTokens != *u.InputTokens+*u.OutputTokens {
		t.Errorf("usage %+v", u)
	}
}

func TestConverseStreamSaysWhatConverseSays(t *testing.T) {
	client, _ := started(t)
	out, err := client.ConverseStream(t.Context(), &bedrockruntime.ConverseStreamInput{ModelId: aws.String(nova), Messages: said("Tell me über Grünkohl, at some length.")})
	if err != nil {
		t.Fatal(err)
	}
	text, stop, tokens := "", types.StopReason(""), int32(0)
	for e := range out.GetStream().Events() {
		switch e := e.(type) {
		case *types.ConverseStreamOutputMemberContentBlockDelta:
			text += e.Value.Delta.(*types.ContentBlockDeltaMemberText).Value
		case *types.ConverseStreamOutputMemberMessageStop:
			stop = e.Value.StopReason
		case *types.ConverseStreamOutputMemberMetadata:
			tokens = *e.Value.Usage.TotalTokens
		}
	}
	if err := out.GetStream().Err(); err != nil {
		t.Fatal(err)
	}
	if text != "You said: Tell me über Grünkohl, at some length." || stop != types.StopReasonEndTurn || tokens == 0 {
		t.Errorf("%q, %s, %d tokens", text, stop, tokens)
	}
}

const helloBody = `{"anthropic_version":"bedrock-2023-05-31","max_tokens":4096,"messages":[{"role":"user","content":"Say hello from Bedrock."}]}`

func TestInvokeModelSaysThePagesHello(t *testing.T) {
	client, _ := started(t)
	out, err := client.InvokeModel(t.Context(), &bedrockruntime.InvokeModelInput{ModelId: aws.String(claude), ContentType: aws.String("application/json"), Body: []byte(helloBody)})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		ID      string
		Content []struct{ Type, Text string }
		Stop    string `json:"stop_reason"`
		Usage   struct {
			Input  int `json:"input_tokens"`
			Output int `json:"output_tokens"`
		}
	}
	if err := json.Unmarshal(out.Body, &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != "msg_01example" || got.Content[0].Text != "Hello from Bedrock!" || got.Stop != "end_turn" || got.Usage.Input != 9 || got.Usage.Output != 5 {
		t.Errorf("%s", out.Body)
	}
}

func TestInvokeModelWithResponseStreamSaysTheSame(t *testing.T) {
	client, _ := started(t)
	out, err := client.InvokeModelWithResponseStream(t.Context(), &bedrockruntime.InvokeModelWithResponseStreamInput{ModelId: aws.String(claude), ContentType: aws.String("application/json"), Body: []byte(helloBody)})
	if err != nil {
		t.Fatal(err)
	}
	text, last := "", ""
	for e := range out.GetStream().Events() {
		var event struct {
			Type  string
			Delta struct{ Text string }
		}
		if err := json.Unmarshal(e.(*types.ResponseStreamMemberChunk).Value.Bytes, &event); err != nil {
			t.Fatal(err)
		}
		text += event.Delta.Text
		last = event.Type
	}
	if err := out.GetStream().Err(); err != nil {
		t.Fatal(err)
	}
	if text != "Hello from Bedrock!" || last != "message_stop" {
		t.Errorf("%q, last %s", text, last)
	}
}

func TestAWrongSecretIsRefused(t *testing.T) {
	_, url := started(t)
	_, err := clientOf(url, "wrong").Converse(t.Context(), &bedrockruntime.ConverseInput{ModelId: aws.String(nova), Messages: said("x")})
	if status, kind := answerOf(err); status != http.StatusForbidden || kind != "InvalidSignatureException" {
		t.Errorf("%d %s: %v", status, kind, err)
	}
}
