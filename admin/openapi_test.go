package admin

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is openapi.json as far as tests look into it.
type document struct {
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Responses map[string]response `json:"responses"`
		Schemas   map[string]struct {
			Properties map[string]json.RawMessage `json:"properties"`
		} `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	Responses map[string]response `json:"responses"`
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
