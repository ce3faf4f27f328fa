package sim

import (
	"encoding/json"
	"regexp"
	"testing"
)

// A stream says what the whole answer says, on every API that streams server-sent events.

func TestAStreamSaysWhatTheWholeSays(t *testing.T) {
	s := start(t)
	clients := agentClients(t)
	for name, c := range clients {
		if name == "converse" || name == "invoke" {
			continue // frames, held together by tests of their own
		}
		for _, prompt := range []string{"What is up?", "sim:agent go", "sim:words=40", "sim:interleave Paris?", "sim:empty", "sim:say=%3Ca%3E+%22b%22%0A%C3%BC x"} {
			var whole, streamed object
			if err := json.Unmarshal([]byte(bodyOf(t, c.ask(t, s, []any{c.prompt(prompt)}))), &whole); err != nil {
				t.Fatal(err)
			}
			streamed = assembled(t, bodyOf(t, asStream(t, s, name, prompt)))
			if got, want := gist(name, streamed), gist(name, whole); got != want {
				t.Errorf("%s %q:\nstream %s\nwhole  %s", name, prompt, got, want)
			}
		}
	}
}

var idsInIt = regexp.MustCompile(`"(id|call_id|signature|encrypted_content)":"[^"]*"`)

// gist is what an answer is about, without what differs each time.
func gist(name string, o object) string {
	var v any
	switch name {
	case "messages":
		v = []any{o["content"], o["stop_reason"]}
	case "chat":
		choice := items(o, "choices")[0]
		v = []any{child(choice, "message"), child(choice, "finish_reason")}
	default:
		v = []any{o["output"], o["status"]}
	}
	return idsInIt.ReplaceAllString(compact(v), `"$1":""`)
}
