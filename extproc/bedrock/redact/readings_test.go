package redact

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// A quote is found however it is written: in whole, cut off at its end, and twice over.
func TestQuotesAreFoundInAnyWriting(t *testing.T) {
	every := func(format string, of func(string) []int) func(string) string {
		return func(s string) string {
			var b strings.Builder
			for _, n := range of(s) {
				fmt.Fprintf(&b, format, n)
			}
			return b.String()
		}
	}
	runes := func(s string) (all []int) {
		for _, r := range s {
			all = append(all, int(r))
		}
		return all
	}
	bytes := func(s string) (all []int) {
		for i := range len(s) {
			all = append(all, int(s[i]))
		}
		return all
	}
	inJSON := func(s string) string { out, _ := json.Marshal(s); return string(out) }
	writings := map[string]func(string) string{
		"capitals": strings.ToUpper, "small letters": strings.ToLower,
		"a form": url.QueryEscape, "a path": url.PathEscape, "each byte of a URL": every("%%%02x", bytes),
		"HTML": html.EscapeString, "HTML, by numbers": every("&#%d;", runes), "HTML, in hex": every("&#x%x;", runes),
		"JSON": inJSON, "Go, in ASCII": func(s string) string { return fmt.Sprintf("%+q", s) }, "JavaScript": every(`\u{%x}`, runes), "bytes": every(`\x%02x`, bytes),
		"base64":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"of a URL":   func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
		"one line":   func(s string) string { return strings.Join(strings.Fields(s), " ") },
		"two spaces": func(s string) string { return strings.ReplaceAll(s, " ", "  ") },
	}
	for _, said := range []string{
		"Where is my submarine parked?", "我的潜水艇停在哪里了呢，舰长", "Où est garé mon sous-marin, à côté?", "Где моя подводная лодка?", "🐙🦑🐋🐬 and 🦈🐙",
		"a1\nb2\nc3\nd4\ne5\nf6\ng7\nh8\n", "if a == \"b\" { c('d') }\n\treturn `e`", `C:\new\table\ufo\x12`, "50% off &amp; more %41",
	} {
		for name, writing := range writings {
			for _, message := range []string{writing(said), inJSON(writing(said)), writing(said) + "…", "Value '" + writing(said)} {
				got := Quotes("Sorry: "+message+": no", slices.Values([]Text{Words(said)}))
				rest := strings.Trim(strings.TrimSuffix(strings.TrimPrefix(got, "Sorry: "), ": no"), `"\=… `)
				rest = strings.TrimPrefix(rest, "Value '")
				before, after, there := strings.Cut(rest, quoted)
				// At both ends less than a letter's writing, and than the marks around a text, may be left.
				if !there || len(before) > 8 || len(after) > 8 || !strings.HasPrefix(got, "Sorry: ") || !strings.HasSuffix(got, ": no") {
					t.Errorf("%s of %q: %q\n from %q", name, said, got, message)
				}
			}
		}
	}
}

// An object is one however a message spaces it, and by which marks it quotes.
func TestQuotesOfJSONWrittenOtherwise(t *testing.T) {
	body := `{"messages": [{"role":"assistant","content":[{"type": "tool_use", "input": {"city": "Bern", "unit": "C", "n": 12}}]}]}`
	for _, said := range []string{`{"city": "Bern", "unit": "C", "n": 12}`, `{'city': 'Bern', 'unit': 'C', 'n': 12}`, `{"city":"Bern","unit":"C","n":12}`, "{\n\t\"city\": \"Bern\",\n\t\"unit\": \"C\",\n\t\"n\": 12}", `{\"city\": \"Bern\", \"unit\": \"C\", \"n\": 12}`} {
		if got := Quotes("Bad input_value="+said+", input_type=dict", slices.Values([]Text{Messages([]byte(body))})); strings.Contains(got, "Bern") || !strings.HasPrefix(got, "Bad input_value="+quoted) || !strings.HasSuffix(got, ", input_type=dict") {
			t.Errorf("%q: %q", said, got)
		}
	}
}

// The bytes of a picture are in no log, though nobody holds them any longer.
func TestNoPictureIsQuoted(t *testing.T) {
	picture := base64.StdEncoding.EncodeToString([]byte("\x89PNG\r\n\x1a\n and 40 bytes more, of which\xff\xfe nobody knows"))
	if got := Quotes("Could not read '"+picture+"' at messages", slices.Values([]Text{})); got != "Could not read '"+quoted+"' at messages" && got != "Could not read '"+quoted+"=' at messages" {
		t.Errorf("%q", got)
	}
}

// What is no writing of what was said is AWS's own: names, numbers, ids, escapes and encodings of other things.
func TestOtherWritingIsKept(t *testing.T) {
	for _, message := range append(lines(t, "kept.txt"), `bad \u00e9 %41 &lt; \x12\xff \u{ffffffff} \UFFFFFFFF \ud800 \ud83d\u0041 &nosuch; %zz \`,
		"req_011CSHoEeqs5C35K2UUqR7Fy "+strings.Repeat("A", 64), "V2VyIGlzdCBkYXM/ V2VyIGlzdCBkYXM") {
		if got := Quotes(message, slices.Values([]Text{Words("Where is my submarine parked?")})); got != message {
			t.Errorf("%q became %q", message, got)
		}
	}
}
