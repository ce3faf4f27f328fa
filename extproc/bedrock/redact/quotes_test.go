package redact

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A prompt and a message that repeat one letter cost no more than others do.
func TestQuotesAreFoundInOnePass(t *testing.T) {
	message, text := strings.Repeat("a", maxMessage), strings.Repeat("a", 1<<21)
	done := make(chan string, 1)
	go func() { done <- Quotes(message, slices.Values([]Text{Words(text)})) }()
	select {
	case got := <-done:
		if got != quoted {
			t.Errorf("got %q", got)
		}
	case <-time.After(20 * time.Second): // each letter by each: 2^32 steps
		t.Fatal("still at it")
	}
}

// FuzzQuotes: whatever AWS says, no piece of a text that is long enough to be a
// quote is left in it, but AWS's own sentences are.
func FuzzQuotes(f *testing.F) {
	for _, message := range lines(f, "kept.txt") {
		f.Add(message, message[len(message)/3:], message[:len(message)/2])
		f.Add(message, "x", message[len(message)/4:len(message)/2]+"é")
	}
	f.Fuzz(func(t *testing.T, message, one, other string) {
		message = strings.ToValidUTF8(message, "") // as it is once its JSON is read
		got := Quotes(message, slices.Values([]Text{Words(one), {other, form(len(other) % 2)}}))
		Quotes(message, slices.Values([]Text{Messages([]byte(one)), Responses([]byte(other))})) // of these names are not the caller's
		for part := range strings.SplitSeq(aroundOwn.ReplaceAllString(got, quoted), quoted) {
			for i := 0; i+quoteSize <= len(part); i++ {
				if piece := part[i : i+quoteSize]; strings.Contains(one, piece) || strings.Contains(one, strings.ToUpper(piece)) || len(other)%2 == 0 && strings.Contains(other, piece) {
					t.Errorf("%q still quotes %q", got, piece)
				}
			}
		}
	})
}

// AWS's own sentences can be read, whatever a long prompt about the same things has, and what they quote can't.
func TestOwnSentencesAreKept(t *testing.T) {
	text := sentences + "messages.0.content.0.text says: Where is my submarine parked? It's 4111111111111111 that is the model"
	for message, want := range map[string]string{
		"Input is too long for requested model.":                                                            "Input is too long for requested model.",
		"The model returned the following errors: messages.0.content.0.text: Where is my submarine parked?": "The model returned the following errors: messages.0.content.0.text: " + quoted,
		"prompt is too long: 208310 tokens > 200000 maximum":                                                "prompt is too long: 208310 tokens > 200000 maximum",
		"1 validation error detected: Value 'my submarine parked' at 'messages.1.member.content' failed to satisfy constraint: Member must have length less than or equal to 9": "1 validation error detected: " + quoted + "'" + quoted + "' at 'messages.1.member.content' failed to satisfy constraint: Member must have length less than or equal to 9",
		"Too many tokens, please wait before trying again. It's 4111111111111111":                                                                                               "Too many tokens, please wait before trying again. " + quoted,
		"tools.0.custom.input_schema.properties.my_submarine":                                                                                                                   "tools.0.custom.input_schema.properties.my_submarine",
	} {
		if got := Quotes(message, slices.Values([]Text{Words(text)})); strings.ReplaceAll(got, " "+quoted, quoted) != strings.ReplaceAll(want, " "+quoted, quoted) {
			t.Errorf("%q\n got %q\nwant %q", message, got, want)
		}
	}
}

var aroundOwn = regexp.MustCompile("[ .:,;!?'\"`]{0,3}(?:" + own().String() + ")[ .:,;!?'\"`]{0,3}")

// What AWS quotes of a schema is found wherever it stands in one, and JSON Schema's
// own words are left to AWS.
func TestQuotesOfJSON(t *testing.T) {
	for name, form := range map[string]form{"schema": schema, "parameters": parameters, "data": data, "messages": messages, "responses": responses} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		pairs := lines(t, name+".txt")
		for i := 0; i+1 < len(pairs); i += 2 {
			if got := Quotes(pairs[i], slices.Values([]Text{{string(text), form}})); got != pairs[i+1] {
				t.Errorf("%s: %q\n got %q\nwant %q", name, pairs[i], got, pairs[i+1])
			}
		}
	}
}

// JSON that is none is read as it is.
func TestQuotesOfBrokenJSON(t *testing.T) {
	for _, text := range []string{`{"a":"the treasure map`, `the treasure map`, `{"a" the treasure map`, `[]}the treasure map`, `{1:"the treasure map"}`} {
		if got := Quotes("'the treasure map'", slices.Values([]Text{{text, schema}})); got != "'"+quoted+"'" {
			t.Errorf("%s: %q", text, got)
		}
	}
}

// A schema costs what a text of its length does, however deep, and nothing that
// grows with its members.
func TestQuotesOfJSONAreBounded(t *testing.T) {
	deep := strings.Repeat(`{"not":`, 9_000) + `"the treasure map"` + strings.Repeat(`}`, 9_000)
	wide := `{"properties":{` + strings.Repeat(`"`+strings.Repeat("n", 20)+`":{"enum":["x"]},`, 50_000) + `"the treasure map":{}}}`
	for _, text := range []string{deep, wide} {
		var got string
		n := testing.AllocsPerRun(1, func() { got = Quotes("'the treasure map' and more", slices.Values([]Text{{text, schema}})) })
		if got != "'"+quoted+"' and more" || n > 2000 {
			t.Errorf("%q in %.0f allocations", got, n)
		}
	}
}
