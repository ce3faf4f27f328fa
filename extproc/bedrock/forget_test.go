package bedrock

import (
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"weak"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// The operator's log may hold AWS's words, and no word of the conversation.
func TestLogKeepsNoPrompt(t *testing.T) {
	request := &chat.Request{
		System: []chat.Block{chat.Text{Text: "You guard the harbour of Øresund."}},
		Messages: []chat.Message{
			{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: "Where is my submarine parked?"}}},
			{Role: chat.Assistant, Blocks: []chat.Block{chat.ToolUse{ID: "call_of_the_sirens", Name: "look", Input: json.RawMessage(`{"berth":"number seven, north quay","mate":"Chlo\u00eb the \"Gull\""}`)}}},
			{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "call_of_the_sirens", Blocks: []chat.Block{chat.Text{Text: "it sank on Tuesday"}, chat.Document{Name: "salvage plan.txt", Format: "txt", Data: []byte("with two cranes and a barge")}}}}},
		},
		Tools: []chat.Tool{
			{Name: "look", Description: "asks the harbour master", Schema: json.RawMessage(`{"type":"object","properties":{"depth_of_the_wreck":{"description":"in fathoms below keel"}},"additionalProperties":false}`)},
			{Name: "raise the wreck, quietly"},
		},
		Format:   &chat.Format{Name: "salvage_report_1870", Description: "what the divers saw", Schema: json.RawMessage(`{"type":"object","properties":{"cargo":{"enum":["gold of Vigo bay"]}}}`)},
		Stop:     []string{"no more secrets"},
		User:     "captain.nemo",
		Metadata: map[string]string{"case": "leak below the waterline", "vessel_of_the_captain": "n"},
	}
	for name, c := range map[string]struct{ said, want string }{
		"quoted": {
			"1 validation error detected: Value 'Where is my submarine parked?' at 'messages.1.member.content' failed to satisfy constraint",
			"1 validation error detected: Value '[quoted from the request]' at 'messages.1.member.content' failed to satisfy constraint"},
		"cut short": {"bad text: Where is my subm…", "bad text: [quoted from the request]…"},
		"several":   {"harbour of Øresund / number seven, north quay / it sank on Tuesday", "[quoted from the request]/[quoted from the request]/[quoted from the request]"},
		"none":      {"Input is too long for requested model.", "Input is too long for requested model."},
		"short":     {"no", "no"},
		"stop":      {"Value 'no more secrets' at 'inferenceConfig.stopSequences'", "Value '[quoted from the request]' at 'inferenceConfig.stopSequences'"},
		"tool":      {"Value 'asks the harbour master'", "Value '[quoted from the request]'"},
		"label":     {"Value 'leak below the waterline'", "Value '[quoted from the request]'"},
		"user":      {"Value 'captain.nemo'", "Value '[quoted from the request]'"},
		"document":  {"Value 'two cranes and a barge' of 'salvage plan.txt'", "Value '[quoted from the request]' of '[quoted from the request]'"},
		"metadata":  {"the key 'vessel_of_the_captain'", "the key '[quoted from the request]'"},
		"schema":    {`{"depth_of_the_wreck":{"description":"in fathoms below keel"}} is bad`, `[quoted from the request]"description"[quoted from the request] is bad`},
		"format":    {"'salvage_report_1870' / 'what the divers saw' / 'gold of Vigo bay'", "'[quoted from the request]'/'[quoted from the request]'/'[quoted from the request]'"},
		"call":      {"no result for 'call_of_the_sirens'", "no result for '[quoted from the request]'"},
		"alias":     {"tool 'raise_the_wreck_quietly_0'", "tool '[quoted from the request]0'"},
		"file":      {"Value 'salvage plan txt'", "Value '[quoted from the request]'"},
		"unescaped": {`mate 'Chloë the "Gull"'`, `mate '[quoted from the request]'`},
		"capitals":  {"WHERE IS MY SUBMARINE PARKED?", "[quoted from the request]"},
		"keyword":   {"For 'object' type, 'additionalProperties' must be set", "For 'object' type, 'additionalProperties' must be set"},
		"twice":     {"'it sank on Tuesday''it sank on Tuesday'", "'[quoted from the request]''[quoted from the request]'"},
		"at start":  {"it sank on Tuesday: bad", "[quoted from the request]: bad"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, forget := range []bool{false, true} {
				call, err := NewCall(t.Context(), request, target("amazon.nova-pro-v1:0"), bodyLimit)
				if err != nil {
					t.Fatal(err)
				}
				reply := call.reply(http.StatusBadRequest, http.Header{"X-Amzn-Errortype": {"ValidationException"}})
				if forget {
					call.Forget()
				}
				body, _ := json.Marshal(map[string]string{"message": c.said})
				f := reply.Fault(body)
				var e *Exception
				if !errors.As(f.Err, &e) {
					t.Fatalf("no exception in %v", f)
				}
				if got := strings.ReplaceAll(e.Message, " / ", "/"); got != c.want {
					t.Errorf("forget %v: logged %q, want %q", forget, got, c.want)
				}
				if name != "several" && f.Message != c.said {
					t.Errorf("forget %v: the caller reads %q, want its own words %q", forget, f.Message, c.said)
				}
			}
		})
	}
}

// What was sent is let go: of a request with an image and a document only its words stay.
func TestForget(t *testing.T) {
	picture := append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 1<<20)...)
	file := append([]byte("%PDF-"), make([]byte, 1<<20)...)
	held := []weak.Pointer[byte]{weak.Make(&picture[0]), weak.Make(&file[0])}
	call, err := NewCall(t.Context(), &chat.Request{Messages: []chat.Message{{Role: chat.User, Blocks: []chat.Block{
		chat.Text{Text: "What is this?"}, chat.Image{Format: "png", Data: picture}, chat.Document{Name: "plan of the keel", Format: "pdf", Data: file},
	}}}}, target("amazon.nova-pro-v1:0"), bodyLimit)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := call.Sign(token, signedAt)
	if err != nil {
		t.Fatal(err)
	}
	held = append(held, weak.Make(&signed.Body()[0]))
	picture, file = nil, nil
	for range 2 { // a second time is none
		if kept := call.Forget(); kept != int64(len("What is this?")+len("plan of the keel")) {
			t.Errorf("%d bytes are kept", kept)
		}
	}
	runtime.GC()
	for i, p := range held {
		if p.Value() != nil {
			t.Errorf("picture, document, body: number %d is still held", i)
		}
	}
	runtime.KeepAlive(signed.Reply(http.StatusOK, nil))
}

// However much AWS says, and however long the prompt is that it may quote, the
// operator's log gets a line.
func TestLongExceptions(t *testing.T) {
	secret := "the treasure lies under the third palm"
	data := []byte(strings.Repeat("d", 65_529) + secret + strings.Repeat("d", 1<<20)) // across the end of a part
	r := &chat.Request{Messages: []chat.Message{{Role: chat.User, Blocks: []chat.Block{chat.Document{Name: "a", Format: "txt", Data: data}, chat.Text{Text: strings.Repeat("a", 8<<20)}}}}}
	c := newCall(t, r, target("amazon.nova-pro-v1:0"))
	exception := func(said string) (e *Exception, f *fault.Error) {
		body, _ := json.Marshal(map[string]string{"message": said, "__type": strings.Repeat("T", 1000)})
		f = c.reply(http.StatusBadRequest, nil).Fault(body)
		if !errors.As(f.Err, &e) {
			t.Fatal(f)
		}
		return e, f
	}
	var e *Exception
	bytes := allocated(func() { e, _ = exception("Value '" + secret + "' at 'messages' is bad, " + strings.Repeat("a", 1500)) })
	if e.Message != "Value '[quoted from the request]' at 'messages' is bad, [quoted from the request]" || e.Type != chat.Named("") {
		t.Errorf("logged %q: %q", e.Type, e.Message)
	}
	if bytes > 4<<20 { // the texts are 9 MiB
		t.Errorf("%d bytes to find a quote", bytes)
	}
	for what, said := range map[string]string{"long": strings.Repeat("Value too long. ", 50_000), "longer than any": strings.Repeat("x", maxException)} {
		if e, f := exception(said); f.Message != "the upstream refused the request as invalid" || len(e.Message) > 2100 || f.Status != 400 {
			t.Errorf("%s: the caller reads %.100q, the log gets %d bytes", what, f.Message, len(e.Message))
		}
	}
}

// What is decided by AWS's words is decided by all of them, whatever of them a log may have: a flag that
// the request has too; that nobody counts, of a request that is gone.
func TestDecidedByWhatIsNotLogged(t *testing.T) {
	const flag = "fine-grained-tool-streaming-2025-05-14"
	claude := target("anthropic.claude-sonnet-4-5-20250929-v1:0")
	prompt := strings.Repeat("x", maxSaid)
	v := &chat.Verbatim{API: chat.Messages, Beta: []string{flag}, Body: []byte(`{"max_tokens":5,"messages":[{"role":"user","content":"` + prompt + `"}]}`)}
	refusal := func(c *Call, message string) error {
		body, _ := json.Marshal(map[string]string{"message": message})
		return c.reply(http.StatusBadRequest, http.Header{"X-Amzn-Errortype": {"ValidationException"}}).Fault(body)
	}
	for _, forget := range []bool{false, true} {
		call, err := Adopt(v, claude)
		if err != nil {
			t.Fatal(err)
		}
		if forget {
			call.Forget()
		}
		if got := call.Refused(refusal(call, "invalid beta flag: "+flag)); got != betaPrefix+flag {
			t.Errorf("forget %v: refused %q", forget, got)
		}
		count, err := CountTokens(v, claude)
		if err != nil || count == nil {
			t.Fatal(count, err)
		}
		if forget {
			count.Forget()
		}
		if err := refusal(count, "Invocation of model ID "+claude.ID+" with on-demand throughput isn't supported."); !CannotCount(err) {
			t.Errorf("forget %v: %v", forget, err)
		}
	}
}

// Where it is not told which of several flags is refused, it is one that no row of the table knows,
// one after the other; never one that is known to be taken.
func TestRefusedFlagThatIsNotNamed(t *testing.T) {
	v := &chat.Verbatim{API: chat.Messages, Beta: []string{"interleaved-thinking-2025-05-14", "new-2030-01-01", "dangerous-tool-use-2026-09-03", "newer-2031-01-01"}, Body: []byte(`{"max_tokens":5,"safeguards":[],"messages":[{"role":"user","content":"hi"}]}`)}
	m := target("anthropic.claude-sonnet-4-5-20250929-v1:0")
	for _, want := range []string{"new-2030-01-01", "newer-2031-01-01", ""} {
		call, err := Adopt(v, m)
		if err != nil {
			t.Fatal(err)
		}
		body := []byte(`{"message":"invalid beta flag"}`)
		field := call.Refused(call.reply(http.StatusBadRequest, http.Header{"X-Amzn-Errortype": {"ValidationException"}}).Fault(body))
		if want == "" && field != "" || want != "" && field != betaPrefix+want {
			t.Fatalf("refused %q, want %q", field, want)
		}
		if want != "" {
			m = m.Without(field)
		}
	}
}
