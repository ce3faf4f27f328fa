package sim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/document"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
)

func TestConverseAnswersWhatWasAsked(t *testing.T) {
	out, err := start(t).converse(t.Context(), nova, "What is up?")
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
	h := start(t).converseStream(t.Context(), nova, "Tell me über Grünkohl, at some length.")
	if h.err != nil || h.text != "You said: Tell me über Grünkohl, at some length." || h.stop != "end_turn" || h.total == 0 {
		t.Errorf("%+v", h)
	}
}

func TestInvokeModelSaysThePagesHello(t *testing.T) {
	out, err := start(t).client.InvokeModel(t.Context(), &bedrockruntime.InvokeModelInput{
		ModelId: aws.String(claude), ContentType: aws.String("application/json"), Body: asked(helloPrompt),
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"message","id":"msg_01example","role":"assistant","model":"claude-sonnet-4-5-20250929-v1:0","content":[{"type":"text","text":"Hello from Bedrock!"}],` +
		`"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":5}}`
	if string(out.Body) != want {
		t.Errorf("got  %s\nwant %s", out.Body, want)
	}
}

func TestInvokeModelWithResponseStreamSaysTheSame(t *testing.T) {
	events, err := start(t).claudeEvents(t.Context(), helloPrompt)
	if err != nil {
		t.Fatal(err)
	}
	said, kinds := "", ""
	for _, e := range events {
		said += str(e, "delta", "text")
		kinds += str(e, "type") + " "
	}
	if said != helloAnswer || kinds != "message_start content_block_start content_block_delta content_block_delta content_block_delta content_block_stop message_delta message_stop " {
		t.Errorf("%q in %s", said, kinds)
	}
	if first := events[0]; str(first, "message", "id") != helloID || whole(first, "message", "usage", "input_tokens") != helloInput {
		t.Errorf("message_start %v", first)
	}
	if last := events[len(events)-2]; str(last, "delta", "stop_reason") != "end_turn" || whole(last, "usage", "output_tokens") != helloOutput {
		t.Errorf("message_delta %v", last)
	}
}

var weather = &types.ToolConfiguration{Tools: []types.Tool{&types.ToolMemberToolSpec{Value: types.ToolSpecification{
	Name: aws.String("get_weather"),
	InputSchema: &types.ToolInputSchemaMemberJson{Value: document.NewLazyDocument(map[string]any{
		"type": "object", "required": []string{"city"},
		"properties": map[string]any{"city": map[string]any{"type": "string"}, "days": map[string]any{"type": "integer", "minimum": 1}},
	})},
}}}}

func TestAToolIsCalledWithWhatThePromptSaysAndItsResultIsHeard(t *testing.T) {
	client := start(t).client
	in := &bedrockruntime.ConverseInput{ModelId: aws.String(nova), Messages: said("What is the weather in Paris for 3 days?"), ToolConfig: weather}
	out, err := client.Converse(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	message := out.Output.(*types.ConverseOutputMemberMessage).Value
	use, ok := message.Content[len(message.Content)-1].(*types.ContentBlockMemberToolUse)
	if !ok || out.StopReason != types.StopReasonToolUse {
		t.Fatalf("no tool use: %+v", out)
	}
	input, err := use.Value.Input.MarshalSmithyDocument()
	if err != nil || string(input) != `{"city":"Paris","days":3}` {
		t.Errorf("input %s, %v", input, err)
	}
	in.Messages = append(in.Messages, message, types.Message{Role: types.ConversationRoleUser, Content: []types.ContentBlock{
		&types.ContentBlockMemberToolResult{Value: types.ToolResultBlock{ToolUseId: use.Value.ToolUseId, Content: []types.ToolResultContentBlock{&types.ToolResultContentBlockMemberText{Value: "sunny"}}}},
	}})
	if out, err = client.Converse(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if got := out.Output.(*types.ConverseOutputMemberMessage).Value.Content[0].(*types.ContentBlockMemberText).Value; got != "get_weather says: sunny" {
		t.Errorf("answer %q", got)
	}
}

func TestAStreamedToolUseIsTheSame(t *testing.T) {
	out, err := start(t).client.ConverseStream(t.Context(), &bedrockruntime.ConverseStreamInput{ModelId: aws.String(nova), Messages: said("What is the weather in Paris for 3 days?"), ToolConfig: weather})
	if err != nil {
		t.Fatal(err)
	}
	if h := listen(out); h.err != nil || h.tool != "get_weather" || h.input != `{"city":"Paris","days":3}` || h.stop != "tool_use" {
		t.Errorf("%+v", h)
	}
}

func TestMaxTokensAndStopSequencesEndTheAnswer(t *testing.T) {
	client := start(t).client
	for _, c := range []struct {
		config *types.InferenceConfiguration
		want   string
		stop   types.StopReason
	}{
		{&types.InferenceConfiguration{MaxTokens: aws.Int32(2)}, "You said", types.StopReasonMaxTokens},
		{&types.InferenceConfiguration{StopSequences: []string{"three", "two"}}, "You said: one ", types.StopReasonStopSequence},
	} {
		out, err := client.Converse(t.Context(), &bedrockruntime.ConverseInput{ModelId: aws.String(llama), Messages: said("one two three"), InferenceConfig: c.config})
		if err != nil {
			t.Fatal(err)
		}
		if got := out.Output.(*types.ConverseOutputMemberMessage).Value.Content[0].(*types.ContentBlockMemberText).Value; got != c.want || out.StopReason != c.stop {
			t.Errorf("%q, %s; want %q, %s", got, out.StopReason, c.want, c.stop)
		}
	}
}

func TestACachePointIsWrittenThenRead(t *testing.T) {
	client := start(t).client
	in := &bedrockruntime.ConverseInput{ModelId: aws.String(nova), Messages: said("Hi"), System: []types.SystemContentBlock{
		&types.SystemContentBlockMemberText{Value: strings.Repeat("Be kind. ", 100)}, &types.SystemContentBlockMemberCachePoint{Value: types.CachePointBlock{Type: types.CachePointTypeDefault}},
	}}
	first, err := client.Converse(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	in.Messages = said("Hi again")
	second, err := client.Converse(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	written, read := *first.Usage.CacheWriteInputTokens, *second.Usage.CacheReadInputTokens
	if written < 200 || read != written || *first.Usage.CacheReadInputTokens != 0 || *second.Usage.CacheWriteInputTokens != 0 {
		t.Errorf("first %+v, second %+v", first.Usage, second.Usage)
	}
	if u := second.Usage; *u.TotalTokens != *u.InputTokens+*u.OutputTokens+read {
		t.Errorf("total %d", *u.TotalTokens)
	}
}

func TestStructuredOutputFitsItsSchema(t *testing.T) {
	body := object{
		"messages": []any{object{"role": "user", "content": []any{object{"text": "How far is it to Lisbon? Say 2."}}}},
		"outputConfig": object{"textFormat": object{"type": "json_schema", "structure": object{"jsonSchema": object{
			"name": "x", "schema": `{"type":"object","properties":{"place":{"type":"string"},"n":{"type":"integer"}},"required":["place","n"],"additionalProperties":false}`,
		}}}},
	}
	r := start(t).post(t, claude, "converse", marshal(body))
	var out struct {
		Output struct {
			Message struct{ Content []struct{ Text string } }
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&out); err != nil || r.StatusCode != 200 {
		t.Fatal(r.Status, err)
	}
	if got := out.Output.Message.Content[0].Text; got != `{"n":2,"place":"Lisbon"}` {
		t.Error(got)
	}
}

func TestReasoningComesBackUnharmedOrNotAtAll(t *testing.T) {
	client := start(t).client
	in := &bedrockruntime.ConverseInput{ModelId: aws.String(claude), Messages: said("sim:think Why?")}
	out, err := client.Converse(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	message := out.Output.(*types.ConverseOutputMemberMessage).Value
	in.Messages = append(in.Messages, message, said("Go on.")[0])
	if _, err := client.Converse(t.Context(), in); err != nil {
		t.Errorf("unharmed: %v", err)
	}
	thought := message.Content[0].(*types.ContentBlockMemberReasoningContent).Value.(*types.ReasoningContentBlockMemberReasoningText)
	thought.Value.Text = aws.String("Something else.")
	_, err = client.Converse(t.Context(), in)
	if status, _, message := answerOf(err); status != 400 || !strings.Contains(message, "signature") {
		t.Errorf("changed: %v", err)
	}
}

func TestAWrongSecretIsRefused(t *testing.T) {
	s := start(t)
	s.client = clientOf(s.URL, aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "wrong"})
	_, err := s.converse(t.Context(), nova, "x")
	if status, kind, _ := answerOf(err); status != http.StatusForbidden || kind != "InvalidSignatureException" {
		t.Errorf("%d %s: %v", status, kind, err)
	}
	if r := s.recorded(t); r.Total != 1 || r.Calls[0].Status != 403 || r.Calls[0].Exception != "InvalidSignatureException" || r.Calls[0].AccessKeyID != "" {
		t.Errorf("recorded %+v", r)
	}
}

func TestAPrivateEndpointsPathPrefixIsPartOfTheSignature(t *testing.T) {
	s := start(t)
	s.client = clientOf(s.URL+"/private/endpoint", aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"})
	if _, err := s.converse(t.Context(), nova, "x"); err != nil {
		t.Error(err)
	}
}

func TestPathsThatAreNoOperation(t *testing.T) {
	s := start(t)
	for _, operation := range []string{"", "count_tokens", "converse/", "CONVERSE"} {
		if r := s.post(t, nova, operation, []byte("{}")); r.StatusCode != 404 {
			t.Errorf("%q: %s", operation, r.Status)
		}
	}
}

func TestABodyOf25MBIsTooLarge(t *testing.T) {
	r := start(t).post(t, nova, "converse", bytes.Repeat([]byte(" "), maxBody+1))
	if kind, message := refused(t, r); r.StatusCode != 400 || kind != "ValidationException" || !strings.Contains(message, "25000000") {
		t.Errorf("%s %s: %s", r.Status, kind, message)
	}
}

func TestCallsAreRecorded(t *testing.T) {
	s := start(t)
	if _, err := s.converse(t.Context(), nova, "x"); err != nil {
		t.Fatal(err)
	}
	r := s.recorded(t)
	if r.Total != 1 || len(r.Calls) != 1 {
		t.Fatalf("%+v", r)
	}
	c := r.Calls[0]
	if c.Operation != "converse" || c.Model != nova || c.AccessKeyID != "AKID" || c.Region != "us-west-2" || c.Status != 200 || c.Left || !bytes.Contains(c.Body, []byte(`"text":"x"`)) {
		t.Errorf("%+v", c)
	}
	request, _ := http.NewRequest("DELETE", s.URL+"/_sim/calls", nil)
	if response, err := http.DefaultClient.Do(request); err != nil || response.StatusCode != 200 {
		t.Fatal(err)
	}
	if r := s.recorded(t); r.Total != 0 || len(r.Calls) != 0 {
		t.Errorf("after DELETE: %+v", r)
	}
}
