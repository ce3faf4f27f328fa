package admin

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"aisix/admin/resource"
)

// What an action says of itself, for openapi.json.
type (
	// describer gives a schema, and adds those that it refers to.
	describer func(all *resource.Schemas) resource.Schema
	// content is what a body holds.
	content struct {
		types    []string // of media, by which it may come
		optional bool
		schema   describer
	}
	// given is what a success answers.
	given struct {
		status  int // 0: 200
		text    string
		schema  describer
		headers []string
		links   map[string]string // to actions, by name, on what was made
	}
	// parameter is one of a query, a path or the headers.
	parameter struct {
		shared   string          // its name in the document, where several actions take it
		Name     string          `json:"name"`
		In       string          `json:"in"` // "": query
		Required bool            `json:"required,omitempty"`
		Text     string          `json:"description,omitempty"`
		Schema   resource.Schema `json:"schema"`
		Example  string          `json:"example,omitempty"`
	}
)

func answerOf(v any) describer {
	return func(all *resource.Schemas) resource.Schema { return all.Answer(reflect.TypeOf(v)) }
}

func bodyOf(v any) describer {
	return func(all *resource.Schemas) resource.Schema { return all.Body(reflect.TypeOf(v)) }
}

// failures are the answers that are no success, by status.
var failures = map[int]struct {
	name, text string
	headers    map[string]resource.Schema
}{
	400: {name: "BadRequest", text: "The request is wrong; pointer names the member."},
	401: {name: "Unauthorized", headers: map[string]resource.Schema{"WWW-Authenticate": {"const": "Bearer"}},
		text: "No admin key, or a wrong one. The answer to a wrong one is delayed, the more of them come from one address: from 0.1 to 5 seconds."},
	403: {name: "Forbidden", text: "The request names a Host or an Origin that is none of this API's, or has the sample admin key and is not of this machine."},
	404: {name: "NotFound", text: "No such resource or path."},
	409: {name: "Conflict", text: "The name is taken, or other resources refer to this one; of confirm, nothing is lost."},
	412: {name: "PreconditionFailed", text: "The revision of the resource does not match If-Match."},
	413: {name: "TooLarge", text: "The body exceeds 2 MiB."},
	415: {name: "UnsupportedMediaType", text: "The body is not JSON by its Content-Type."},
	500: {name: "Unreadable", text: "The stored row is corrupted and can't be read. Delete and recreate it."},
	503: {name: "Unavailable", headers: map[string]resource.Schema{"Retry-After": {"type": "string"}},
		text: "store_unavailable: Redis is away; a write that broke off may have been made. store_lost: Redis has lost what it held; error_msg says what to do."},
}

// headers are those of successes.
var headers = map[string]object{
	"ETag":     {"description": "The revision, quoted: for If-Match.", "schema": resource.Schema{"type": "string", "pattern": `^"[0-9]+"$`}},
	"Location": {"description": "Its path.", "schema": resource.Schema{"type": "string"}},
	"Link":     {"description": `The next page, rel="next"; absent on the last.`, "schema": resource.Schema{"type": "string"}},
}

var (
	idParameter = parameter{shared: "Id", Name: "id", In: "path", Required: true, Schema: resource.Schema{"type": "string", "format": "uuid"}}
	ifMatches   = parameter{shared: "IfMatch", Name: "If-Match", In: "header", Example: `"7"`,
		Text:   "Write only if the revision is still one of these (ETag), or, with *, if the resource is there.",
		Schema: resource.Schema{"type": "string", "pattern": `^(\*|(W/)?"[0-9]*"(, *(W/)?"[0-9]*")*)$`}}
)

type object map[string]any

// Document is openapi.json, out of the routes, the table of kinds and the structs of
// their bodies. describe is what a struct or a field is, as resource.Schemas takes it:
// the comments of the source say so. admin/internal/openapi writes it to the file that
// is served.
func Document(describe func(name string) string) ([]byte, error) {
	all := &resource.Schemas{Describe: describe, Named: map[string]resource.Schema{}}
	paths, shared, tags := map[string]object{}, object{}, []object{}
	for _, row := range resource.Table {
		tag := object{"name": row.Many}
		if row.Alias != "" {
			tag["description"] = base + row.Alias + " is another path of " + base + string(row.Kind) + ", and so below it."
		}
		tags = append(tags, tag)
	}
	for _, r := range (&Server{usage: struct{ Usage }{}}).table() {
		if r.aliasOf != "" {
			paths[r.aliasOf]["x-alias"] = r.path
			continue
		}
		item := object{}
		if strings.Contains(r.path, "{id}") {
			id := idParameter
			if r.idText != "" {
				id = parameter{Name: "id", In: "path", Required: true, Text: r.idText, Schema: resource.Schema{"type": "string"}}
			}
			item["parameters"] = parameters(shared, id)
		}
		for method, does := range r.methods {
			item[strings.ToLower(method)] = r.operation(does, all, shared)
			if !slices.ContainsFunc(tags, func(tag object) bool { return tag["name"] == does.tag }) {
				tags = append(tags, object{"name": does.tag})
			}
		}
		paths[r.path] = item
	}
	responses := map[string]object{}
	for _, f := range failures {
		responses[f.name] = object{"description": f.text, "content": jsonContent(all.Answer(reflect.TypeFor[problem]()))}
		if f.headers != nil {
			given := object{}
			for name, schema := range f.headers {
				given[name] = object{"schema": schema}
			}
			responses[f.name]["headers"] = given
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(object{
		"openapi": "3.1.0",
		"info": object{"title": "AISIX Admin API", "version": "1", "summary": "Provider keys, models and API keys of the gateway, at run time.",
			"description": documentText, "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"servers":  []object{{"url": "/"}},
		"security": []object{{"bearer": []string{}}, {"apiKey": []string{}}},
		"tags":     tags,
		"paths":    paths,
		"components": object{
			"securitySchemes": object{
				"bearer": object{"type": "http", "scheme": "bearer", "description": "The admin key."},
				"apiKey": object{"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The admin key; read only where there is no Authorization header."},
			},
			"parameters": shared,
			"responses":  responses,
			"schemas":    all.Named,
		},
	})
	return out.Bytes(), err
}

const documentText = "Every answer is JSON. Writes take effect at the proxy within 500 ms. An unknown path is 404, a method that a path does not have 405 with Allow; HEAD is answered where GET is. " +
	"Names in bodies count by case; unknown members, duplicate members, wrong types and values out of range are 400. A null is the same as leaving the member out, and so is an empty string in an optional one. Unknown query parameters are 400."

// parameters are some as an action lists them: those of several actions by reference.
func parameters(shared object, some ...parameter) (listed []any) {
	for _, p := range some {
		if p.In == "" {
			p.In = "query"
		}
		if p.shared == "" {
			listed = append(listed, p)
			continue
		}
		shared[p.shared] = p
		listed = append(listed, object{"$ref": "#/components/parameters/" + p.shared})
	}
	return listed
}

// operation is what the document says of an action.
func (r *route) operation(does action, all *resource.Schemas, shared object) object {
	op := object{"tags": []string{does.tag}, "operationId": does.name, "summary": does.summary}
	if does.text != "" {
		op["description"] = does.text
	}
	fails := slices.Clone(does.fails)
	if !r.probe {
		fails = append(fails, http.StatusForbidden)
	}
	if r.role == anyone {
		op["security"] = []any{}
	} else {
		fails = append(fails, http.StatusBadRequest, http.StatusUnauthorized)
	}
	takes := slices.Clone(does.query)
	if does.ifMatch {
		takes, fails = append(takes, ifMatches), append(fails, http.StatusPreconditionFailed)
	}
	if len(takes) > 0 {
		op["parameters"] = parameters(shared, takes...)
	}
	if does.takes != nil {
		fails = append(fails, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
		holds := object{}
		for _, media := range does.takes.types {
			holds[media] = object{"schema": does.takes.schema(all)}
		}
		op["requestBody"] = object{"required": !does.takes.optional, "content": holds}
	}
	responses := map[string]any{strconv.Itoa(max(does.gives.status, http.StatusOK)): does.gives.response(all)}
	for _, status := range fails {
		responses[strconv.Itoa(status)] = object{"$ref": "#/components/responses/" + failures[status].name}
	}
	op["responses"] = responses
	return op
}

func (g given) response(all *resource.Schemas) object {
	response := object{"description": g.text, "content": jsonContent(g.schema(all))}
	if len(g.headers) > 0 {
		has := object{}
		for _, name := range g.headers {
			has[name] = headers[name]
		}
		response["headers"] = has
	}
	if len(g.links) > 0 {
		links := object{}
		for name, action := range g.links {
			links[name] = object{"operationId": action, "parameters": object{"id": "$response.body#/id"}}
		}
		response["links"] = links
	}
	return response
}

func jsonContent(schema resource.Schema) object {
	return object{jsonType: object{"schema": schema}}
}

// written is what a write of the collection holds; a new resource has its secret.
func (c collection) written(anew bool) *content {
	return &content{types: []string{jsonType}, schema: func(all *resource.Schemas) resource.Schema {
		schema := all.Kind(c.Row)
		if c.Secret == nil || !anew {
			return schema
		}
		either := []any{}
		for _, name := range c.Secret.Members {
			either = append(either, resource.Schema{"required": []string{name}, "properties": object{name: resource.Schema{"type": "string"}}})
		}
		return resource.Schema{"allOf": []any{schema, resource.Schema{"anyOf": either}}}
	}}
}

var patches = &content{types: []string{jsonType, patchType}, schema: func(all *resource.Schemas) resource.Schema {
	all.Named["MergePatch"] = resource.Schema{"type": "object",
		"description": "A JSON merge patch (RFC 7396): the members to change, null takes one away. Unknown members are refused."}
	return resource.Ref("MergePatch")
}}

// pageQuery are the parameters of a list.
var pageQuery = []parameter{
	{shared: "Limit", Name: "limit", Text: "The most entries of a page; without it there is one page with all.", Schema: resource.Schema{"type": "integer", "minimum": 1, "maximum": maxPage}},
	{shared: "After", Name: "after", Text: "The id behind which the page begins.", Schema: resource.Schema{"type": "string", "format": "uuid"}},
}

func (c collection) page() given {
	return given{text: "All, or one page.", headers: []string{"Link"}, schema: func(all *resource.Schemas) resource.Schema {
		return resource.Schema{"type": "array", "items": c.entrySchema("", false)(all)}
	}}
}

func (c collection) entry(text string) given {
	return given{text: text, headers: []string{"ETag"}, schema: c.entrySchema("", false)}
}

func (c collection) created() given {
	g := given{status: http.StatusCreated, text: "Created.", headers: []string{"Location", "ETag"}, schema: c.entrySchema("", false),
		links: map[string]string{"get": "get" + c.Title(), "replace": "replace" + c.Title(), "patch": "patch" + c.Title(), "delete": "delete" + c.Title()}}
	if c.Issues != nil {
		g.schema, g.links["rotate"] = c.entrySchema("New", true), "rotate"+c.Title()
	}
	return g
}

// rotated is an answer of its own kind, as an entry is.
func (c collection) rotated() given {
	return given{text: "The entry, and the new key.", headers: []string{"ETag"}, schema: func(all *resource.Schemas) resource.Schema {
		return c.ofKind(all, rotated{}, "Rotated"+c.Title(), "", object{"entry": c.entrySchema("", false)(all)})
	}}
}

// entrySchema is an entry of the kind; a new one may show what was generated.
func (c collection) entrySchema(prefix string, shows bool) describer {
	return func(all *resource.Schemas) resource.Schema {
		article, and := "A ", "."
		if strings.ContainsAny(c.One[:1], "AEIOUaeiou") {
			article = "An "
		}
		replace := object{"value": all.Kind(c.Row), "plaintext": nil}
		if shows {
			and = ", and, if it was generated, the key."
			delete(replace, "plaintext")
		}
		return c.ofKind(all, entry{}, prefix+c.Title()+"Entry", article+c.One+" as it is kept"+and, replace)
	}
}

// ofKind describes an answer whose struct is the same for all kinds, under a name of
// the kind's: some of its properties are replaced, or left out.
func (c collection) ofKind(all *resource.Schemas, v any, name, text string, replace object) resource.Schema {
	if _, known := all.Named[name]; known {
		return resource.Ref(name)
	}
	one := &resource.Schemas{Describe: all.Describe, Named: map[string]resource.Schema{}}
	ref := one.Answer(reflect.TypeOf(v))["$ref"].(string)
	kind, properties := one.Named[ref[strings.LastIndexByte(ref, '/')+1:]], resource.Properties{}
	for _, p := range kind["properties"].(resource.Properties) {
		other, replaced := replace[p.Name]
		switch {
		case !replaced:
			properties = append(properties, p)
		case other != nil:
			ref := other.(resource.Schema)
			ref["description"] = p.Schema["description"]
			properties = append(properties, resource.Property{Name: p.Name, Schema: ref})
		}
	}
	kind["properties"] = properties
	if text != "" {
		kind["description"] = text
	}
	all.Named[name] = kind
	return resource.Ref(name)
}
