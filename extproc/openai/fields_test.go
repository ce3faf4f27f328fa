package openai

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// fieldGroup is a row of testdata/fields.json: a legal sample (members of a
// request) and what becomes of fields in it. testdata/fields.py holds the list
// to what openai-python declares.
type fieldGroup struct {
	Sample map[string]any `json:"sample"`
	// Fields are fates by name. honoured: reaches the model. hint: accepted,
	// used where there is a place for it. default: accepted where it is the
	// default, which changes nothing. refused: a 400 that names it.
	Fields  map[string]string `json:"fields"`
	Param   string            `json:"param"`   // that the refusal names, where it is not the field
	Refuses []map[string]any  `json:"refuses"` // values that a default field does not take
}

func fieldGroups(t testing.TB) (openai, ours []fieldGroup) {
	t.Helper()
	data, err := os.ReadFile("testdata/fields.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ OpenAI, Ours []fieldGroup }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	return file.OpenAI, file.Ours
}

// whole is a request with these members.
func whole(members map[string]any) map[string]any {
	r := map[string]any{"model": "m", "messages": []any{map[string]any{"role": "user", "content": "hi"}}}
	maps.Copy(r, members)
	return r
}

// decoded is what becomes of a body: what the model is asked, and what the answer says
// beside what the model says.
type decoded struct {
	Request *chat.Request
	Usage   bool
}

func decodeMap(t *testing.T, body map[string]any) (*decoded, *fault.Error) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Chat{}.Parse(nil, raw)
	if err != nil {
		return nil, fault.From(err)
	}
	r, err := a.Request(nil)
	if err != nil {
		return nil, fault.From(err)
	}
	r.Came = nil // another test is about that
	return &decoded{r, a.(*asked).usage}, nil
}

// TestEveryField: no field is dropped. One that is honoured changes what is
// decoded, one that is refused is named, one that has only its default is
// named for any other value; null is absent; a wrong type is named.
func TestEveryField(t *testing.T) {
	openai, ours := fieldGroups(t)
	for i, group := range append(openai, ours...) {
		got, f := decodeMap(t, whole(group.Sample))
		for name, fate := range group.Fields {
			if fate == "refused" {
				if param := or(group.Param, name); f == nil || f.Status != 400 || f.Param != param {
					t.Errorf("%s: %v, want a 400 for %s", name, f, param)
				}
				continue
			}
			if f != nil {
				t.Errorf("%s: %v", name, f)
				continue
			}
			absent, null, wrong := whole(clone(t, group.Sample)), whole(clone(t, group.Sample)), whole(clone(t, group.Sample))
			edit(t, absent, name, func(parent map[string]any, last string) { delete(parent, last) })
			edit(t, null, name, func(parent map[string]any, last string) { parent[last] = nil })
			param := edit(t, wrong, name, func(parent map[string]any, last string) { parent[last] = ill(parent[last]) })
			without, refusal := decodeMap(t, absent)
			changed := refusal != nil || !cmp.Equal(got, without)
			if changed != (fate == "honoured") && fate != "hint" {
				t.Errorf("%s is %s, but leaving it out changes the request: %t", name, fate, changed)
			}
			asNull, nullRefusal := decodeMap(t, null)
			if name != "messages[tool].content" && ((refusal == nil) != (nullRefusal == nil) || !cmp.Equal(without, asNull)) {
				t.Errorf("%s: null is not the same as absent: %v, %v", name, nullRefusal, refusal)
			}
			if i < len(openai) {
				if _, f := decodeMap(t, wrong); f == nil || f.Status != 400 || f.Param != param {
					t.Errorf("%s: with a value of a wrong type: %v, want a 400 for %s", name, f, param)
				}
			}
		}
		for _, members := range group.Refuses {
			_, f := decodeMap(t, whole(members))
			if f == nil || f.Status != 400 || !slices.ContainsFunc(slices.Collect(maps.Keys(group.Fields)), func(name string) bool {
				return strings.HasPrefix(f.Param, edit(t, whole(clone(t, group.Sample)), name, func(map[string]any, string) {}))
			}) {
				t.Errorf("%v: %v, want a 400 for one of %v", members, f, slices.Sorted(maps.Keys(group.Fields)))
			}
		}
	}
}

// TestFieldsAreTheParameters: the list and the decoder's table have the same members.
func TestFieldsAreTheParameters(t *testing.T) {
	openai, ours := fieldGroups(t)
	listed := map[string]bool{}
	for _, group := range append(openai, ours...) {
		for name := range group.Fields {
			listed[strings.FieldsFunc(name, func(r rune) bool { return r == '.' || r == '[' })[0]] = true
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(parameters)), slices.Sorted(maps.Keys(listed))); diff != "" {
		t.Errorf("parameters against testdata/fields.json:\n%s", diff)
	}
}

// TestDocumentation holds docs/parameters.md to the list: each field stands in
// one row, with its fate. A row may name several fields; a name ends in .* for
// all that is below, and [*] is any role or type.
func TestDocumentation(t *testing.T) {
	data, err := os.ReadFile("../../docs/parameters.md")
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		name, fate string
		pattern    *regexp.Regexp
		used       bool
	}
	var rows []*row
	for _, line := range strings.Split(string(data), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`") {
			continue
		}
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			pattern := strings.NewReplacer(`\[\*\]`, `\[[^]]+\]`, `\.\*`, `[.\[].+`).Replace(regexp.QuoteMeta(name[1]))
			rows = append(rows, &row{name[1], strings.TrimSpace(cells[2]), regexp.MustCompile("^" + pattern + "$"), false})
		}
	}
	openai, ours := fieldGroups(t)
	for _, group := range append(openai, ours...) {
		for name, fate := range group.Fields {
			var found []string
			for _, r := range rows {
				if r.pattern.MatchString(name) {
					found, r.used = append(found, r.fate), true
				}
			}
			if !slices.Equal(found, []string{fate}) {
				t.Errorf("docs/parameters.md: %s has the rows %q, want one that says %s", name, found, fate)
			}
		}
	}
	for _, r := range rows {
		if !r.used {
			t.Errorf("docs/parameters.md: there is no field %s", r.name)
		}
	}
}

var step = regexp.MustCompile(`\.?([^.\[]+)(?:\[([^]]+)\])?`)

// edit finds a field in a request, lets f change it, and gives its path as a
// fault names it. A list without a word in brackets means its first item.
func edit(t *testing.T, r map[string]any, name string, f func(parent map[string]any, last string)) string {
	t.Helper()
	parent, path := r, ""
	steps := step.FindAllStringSubmatch(name, -1)
	for i, s := range steps {
		path += "." + s[1]
		if i == len(steps)-1 && s[2] == "" {
			f(parent, s[1])
			return path[1:]
		}
		items, ok := parent[s[1]].([]any)
		if !ok {
			if parent, ok = parent[s[1]].(map[string]any); !ok {
				t.Fatalf("%s: the sample has no %s", name, path)
			}
			continue
		}
		at := slices.IndexFunc(items, func(item any) bool {
			m, ok := item.(map[string]any)
			return ok && (s[2] == "" || m["role"] == s[2] || m["type"] == s[2])
		})
		if at < 0 {
			t.Fatalf("%s: the sample has no %s", name, path)
		}
		path += "[" + strconv.Itoa(at) + "]"
		parent = items[at].(map[string]any)
	}
	t.Fatalf("%s names no member", name)
	return ""
}

// ill is a value of another type.
func ill(v any) any {
	if _, ok := v.(float64); ok {
		return "x"
	}
	return 5.0
}

func clone(t *testing.T, m map[string]any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
