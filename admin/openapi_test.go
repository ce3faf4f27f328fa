package admin

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"aisix/admin/resource"
)

// document is openapi.json as far as tests look into it.
type document struct {
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Responses map[string]response `json:"responses"`
		Schemas   map[string]struct {
			Properties map[string]struct {
				Items struct {
					Enum []string `json:"enum"`
				} `json:"items"`
			} `json:"properties"`
		} `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	Responses  map[string]response `json:"responses"`
	Security   *[]any              `json:"security"`
	Parameters []struct {
		Name string `json:"name"`
		In   string `json:"in"`
		Ref  string `json:"$ref"`
	} `json:"parameters"`
}

type response struct {
	Ref     string                     `json:"$ref"`
	Headers map[string]json.RawMessage `json:"headers"`
	Content map[string]json.RawMessage `json:"content"`
}

var parsed = sync.OnceValues(func() (document, error) {
	var d document
	err := json.Unmarshal(openapi, &d)
	return d, err
})

var schemas = sync.OnceValues(func() (*jsonschema.Compiler, error) {
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(openapi)))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	return c, c.AddResource("openapi.json", doc)
})

var compiling sync.Mutex

// described holds an answer to the document: the path, the method, the status, the
// headers and the body must stand there.
func described(t testing.TB, method, path string, got reply) {
	t.Helper()
	d, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	template, item := d.path(path)
	text, known := item[strings.ToLower(method)]
	if !known { // what is not there is refused
		switch got.status {
		case http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed:
			valid(t, "#/components/schemas/Problem", got.body)
		default:
			t.Errorf("%s %s is not in openapi.json, and is %d", method, path, got.status)
		}
		return
	}
	var op operation
	if err := json.Unmarshal(text, &op); err != nil {
		t.Fatal(err)
	}
	code := strconv.Itoa(got.status)
	r, ok := op.Responses[code]
	if !ok {
		t.Errorf("%s %s: openapi.json has no %s: %s", method, template, code, got.body)
		return
	}
	at := "#/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(template) + "/" + strings.ToLower(method) + "/responses/" + code
	if name, isRef := strings.CutPrefix(r.Ref, "#/components/responses/"); isRef {
		r, at = d.Components.Responses[name], r.Ref
	}
	for name := range r.Headers {
		if got.header.Get(name) == "" && name != "Link" {
			t.Errorf("%s %s: %s without %s", method, path, code, name)
		}
	}
	for _, name := range []string{"ETag", "Location", "Link", "Retry-After"} {
		if _, ok := r.Headers[name]; !ok && got.header.Get(name) != "" {
			t.Errorf("%s %s: openapi.json has no %s with %s", method, template, name, code)
		}
	}
	valid(t, at+"/content/application~1json/schema", got.body)
}

// path finds the path item of a path; aliases stand as x-alias.
func (d document) path(path string) (template string, item map[string]json.RawMessage) {
	for template, item := range d.Paths {
		for _, t := range []string{template, alias(item)} {
			r := route{path: t}
			if _, ok := r.id(path); ok && t != "" {
				return template, item
			}
		}
	}
	return "", nil
}

func alias(item map[string]json.RawMessage) string {
	var s string
	_ = json.Unmarshal(item["x-alias"], &s) // absent is ""
	return s
}

// valid holds JSON to a schema of the document.
func valid(t testing.TB, pointer, body string) {
	t.Helper()
	compiling.Lock()
	defer compiling.Unlock()
	c, err := schemas()
	if err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("openapi.json" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		t.Errorf("%s: %v", body, err)
	} else if err := schema.Validate(v); err != nil {
		t.Errorf("%s is not as %s has it: %v", body, pointer, err)
	}
}

func TestTheDocumentIsServedToEverybody(t *testing.T) {
	got := start(t).must("GET", "/admin/openapi.json", "", "Authorization:")
	if got.body != string(openapi) {
		t.Errorf("%d bytes, want the file's %d", len(got.body), len(openapi))
	}
}

func TestTheDocumentHasEveryRouteAndNoOther(t *testing.T) {
	d, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string][]string{}, map[string][]string{}
	s := &Server{usage: struct{ Usage }{}}
	for _, r := range s.table() {
		for method := range r.methods {
			row := strings.ToLower(method) + " " + r.path
			want[row] = slices.Concat([]string{map[bool]string{true: "public", false: "with the key"}[r.public]}, r.queryOf(method))
		}
	}
	for path, item := range d.Paths {
		for method, text := range item {
			if method == "parameters" || method == "x-alias" {
				continue
			}
			var op operation
			if err := json.Unmarshal(text, &op); err != nil {
				t.Fatal(err)
			}
			row := []string{"with the key"}
			if op.Security != nil && len(*op.Security) == 0 {
				row[0] = "public"
			}
			var query []string
			for _, p := range op.Parameters {
				if p.In == "query" {
					query = append(query, p.Name)
				}
				if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok && name != "IfMatch" {
					query = append(query, strings.ToLower(name))
				}
			}
			slices.Sort(query)
			row = append(row, query...)
			got[method+" "+path] = row
			if a := alias(item); a != "" {
				got[method+" "+a] = row
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("openapi.json (-code +document):\n%s", diff)
	}
}

func TestTheDocumentHasEveryMemberAndNoOther(t *testing.T) {
	d, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	shapes := map[string][]string{
		"ProviderKey":       append(members(reflect.TypeFor[resource.ProviderKey]()), "secret", "api_key", "secret_info"),
		"Model":             members(reflect.TypeFor[resource.Model]()),
		"APIKey":            members(reflect.TypeFor[resource.APIKey]()),
		"RateLimit":         members(reflect.TypeFor[resource.RateLimit]()),
		"Cost":              members(reflect.TypeFor[resource.Cost]()),
		"GuardrailConfig":   members(reflect.TypeFor[resource.GuardrailConfig]()),
		"PerformanceConfig": members(reflect.TypeFor[resource.Performance]()),
		"ServiceTier":       members(reflect.TypeFor[resource.ServiceTier]()),
		"Capabilities":      members(reflect.TypeFor[resource.Capabilities]()),
		"SecretInfo":        members(reflect.TypeFor[resource.SecretInfo]()),
		"NewAPIKeyEntry":    members(reflect.TypeFor[entry]()),
		"Problem":           members(reflect.TypeFor[problem]()),
		"Status":            members(reflect.TypeFor[status]()),
		"UsageRow":          append(members(reflect.TypeFor[usageRow]()), "key", "model"),
	}
	for name, want := range shapes {
		var got []string
		for member := range d.Components.Schemas[name].Properties {
			got = append(got, member)
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-code +document):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff(resource.Overridable, d.Components.Schemas["Model"].Properties["allow_override"].Items.Enum); diff != "" {
		t.Errorf("allow_override (-code +document):\n%s", diff)
	}
}

// members are the JSON names of a struct.
func members(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			names = append(names, members(f.Type)...)
		case name != "" && name != "-":
			names = append(names, name)
		}
	}
	return names
}
