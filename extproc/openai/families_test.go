package openai

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/admin/strict"
	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/identity"
)

var update = flag.Bool("update", false, "rewrite the tables in docs that tests make")

// documented are the families that docs/parameters.md has a column for.
var documented = []struct{ title, model string }{
	{"Claude 5.5", "anthropic.claude-opus-5-5"},
	{"Claude 4.8", "anthropic.claude-opus-4-8"},
	{"Claude 4.6", "anthropic.claude-opus-4-6-v1"},
	{"Claude 4.5", "anthropic.claude-sonnet-4-5-20250929-v1:0"},
	{"Claude 3.5", "anthropic.claude-3-5-sonnet-20241022-v2:0"},
	{"Nova", "amazon.nova-pro-v1:0"},
	{"Nova 2", "amazon.nova-2-lite-v1:0"},
	{"Llama 3.3", "meta.llama3-3-70b-instruct-v1:0"},
	{"Mistral Large", "mistral.mistral-large-2407-v1:0"},
	{"Command R+", "cohere.command-r-plus-v1:0"},
	{"Jamba 1.5", "ai21.jamba-1-5-large-v1:0"},
	{"DeepSeek R1", "deepseek.r1-v1:0"},
	{"GPT 5.6", "us.openai.gpt-5.6-sol"},
	{"gpt-oss", "openai.gpt-oss-120b-1:0"},
	{"Qwen 3", "qwen.qwen3-32b-v1:0"},
	{"unknown", "acme.model-1"},
}

// TestFamilies makes the table of docs/parameters.md on families out of what the
// encoders do, and compares: go test ./extproc/openai -run Families -update
// rewrites it after a change of families.json.
func TestFamilies(t *testing.T) {
	var table strings.Builder
	table.WriteString("| Field | Sample |")
	for _, m := range documented {
		table.WriteString(" " + m.title + " |")
	}
	table.WriteString("\n|---|---|" + strings.Repeat("---|", len(documented)) + "\n")
	openai, ours := fieldGroups(t)
	cells := map[string][]string{}
	for _, group := range append(openai, ours...) {
		names := make([]string, 0, len(group.Fields))
		for name, fate := range group.Fields {
			last := name[strings.LastIndexByte(name, '.')+1:] // what only tells kinds apart says nothing more
			if (fate == "honoured" || fate == "hint") && last != "role" && last != "type" && last != "mode" && !strings.Contains(name, "[developer]") {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			row := make([]string, len(documented))
			for i, m := range documented {
				row[i] = cell(t, m.model, group.Sample, name)
			}
			cells[name] = row
			if slices.Equal(row, cells[parent(name, cells)]) || len(slices.Compact(slices.Clone(row))) == 1 {
				continue
			}
			fmt.Fprintf(&table, "| `%s` | `%s` | %s |\n", name, sample(t, group.Sample, name), strings.Join(row, " | "))
		}
	}
	const begin, end = "<!-- families -->\n", "<!-- /families -->"
	const file = "../../docs/parameters.md"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the marks of the table", file)
	}
	want := before + begin + table.String() + end + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(doc) {
		t.Errorf("%s is not what the encoders do; run go test ./extproc/openai -run Families -update and read the difference", file)
	}
}

// cell tells what a field of a sample does in the call to a model.
func cell(t *testing.T, model string, members map[string]any, name string) string {
	t.Helper()
	with, f := call(t, model, whole(members))
	if f != nil {
		if f.Status != 400 || f.Param == "" {
			t.Errorf("%s, %s: %v, want a 400 that names the field", model, name, f)
		}
		return "400"
	}
	absent := whole(clone(t, members))
	edit(t, absent, name, func(parent map[string]any, last string) { delete(parent, last) })
	without, f := call(t, model, absent)
	if f == nil && bytes.Equal(with, without) {
		return "–"
	}
	return "yes"
}

// call is what is sent to Bedrock, all but the signature.
func call(t *testing.T, model string, body map[string]any) ([]byte, *fault.Error) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var request *chat.Request
	if request, err = (Chat{}).Decode(raw); err != nil {
		return nil, fault.From(err)
	}
	return encode(t, model, request)
}

func encode(t *testing.T, model string, request *chat.Request) ([]byte, *fault.Error) {
	t.Helper()
	m := &resource.Model{Bedrock: resource.Bedrock{AllowOverride: resource.Overridable}}
	target, err := bedrock.Compile(m, model, &resource.ProviderKey{Credentials: resource.Static{Region: "us-east-1"}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := bedrock.NewCall(t.Context(), request, target, 10<<20)
	if err != nil {
		return nil, fault.From(err)
	}
	signed, err := c.Sign(identity.Token{}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	header, err := json.Marshal(signed.Header())
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat([]byte(signed.URL.EscapedPath()), header, signed.Body()), nil
}

// parent is the longest known name that a name begins with.
func parent(name string, known map[string][]string) string {
	longest := ""
	for k := range known {
		if len(k) > len(longest) && len(k) < len(name) && strings.HasPrefix(name, k) {
			longest = k
		}
	}
	return longest
}

// sample is the value of a field, as far as it fits a table.
func sample(t *testing.T, members map[string]any, name string) string {
	t.Helper()
	var out []byte
	edit(t, whole(clone(t, members)), name, func(parent map[string]any, last string) {
		var buf bytes.Buffer
		e := json.NewEncoder(&buf)
		e.SetEscapeHTML(false)
		if err := e.Encode(parent[last]); err != nil {
			t.Fatal(err)
		}
		out = bytes.TrimSpace(buf.Bytes())
	})
	return strict.Clip(string(out), 40)
}
