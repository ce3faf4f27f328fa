package admin

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"aisix/admin/resource"
)

// handler answers one request; id is the {id} of the path, if it has one. What it
// returns is answered as JSON.
type handler func(a *answer, r *http.Request, id string) error

// route is one HTTP path and what each method does there.
type route struct {
	path    string   // may hold one {id}
	public  bool     // needs no admin key
	query   []string // the parameters that its GET takes, sorted
	methods map[string]handler
}

// table is every path of the Admin API.
func (s *Server) table() []route {
	table := []route{
		{path: "/livez", public: true, methods: map[string]handler{"GET": s.livez}},
		{path: "/readyz", public: true, methods: map[string]handler{"GET": s.readyz}},
		{path: "/admin/openapi.json", public: true, methods: map[string]handler{"GET": s.openapi}},
		{path: "/admin/v1/health", methods: map[string]handler{"GET": s.health}},
		{path: confirmPath("{id}"), methods: map[string]handler{"POST": s.confirm}},
	}
	if s.usage != nil {
		table = append(table, route{path: "/admin/v1/usage", query: []string{"from", "group_by", "to"}, methods: map[string]handler{"GET": s.totals}})
	}
	for _, c := range []struct {
		path string
		kind resource.Kind
	}{{"provider_keys", resource.ProviderKeys}, {"models", resource.Models}, {"apikeys", resource.APIKeys}, {"api_keys", resource.APIKeys}} {
		resources := collection{Server: s, kind: c.kind, path: "/admin/v1/" + c.path}
		table = append(table,
			route{path: resources.path, query: []string{"after", "limit"}, methods: map[string]handler{"GET": resources.list, "POST": resources.create}},
			route{path: resources.path + "/{id}", methods: map[string]handler{
				"GET": resources.get, "PUT": resources.put, "PATCH": resources.patch, "DELETE": resources.delete}})
		if c.kind == resource.APIKeys {
			table = append(table, route{path: resources.path + "/{id}/rotate", methods: map[string]handler{"POST": resources.rotate}})
		}
	}
	return table
}

// match finds the route of a path.
func (s *Server) match(r *http.Request) (*route, string, error) {
	for i := range s.routes {
		if id, ok := s.routes[i].id(r.URL.EscapedPath()); ok {
			return &s.routes[i], id, nil
		}
	}
	return nil, "", &problem{status: http.StatusNotFound, Code: "not_found", Message: "no such path"}
}

// id is what stands for {id} in a path of this route; ok is false for other paths.
func (r *route) id(path string) (id string, ok bool) {
	before, after, holds := strings.Cut(r.path, "{id}")
	if !holds {
		return "", path == r.path
	}
	id, ok = strings.CutPrefix(path, before)
	if ok {
		id, ok = strings.CutSuffix(id, after)
	}
	return id, ok && id != "" && !strings.Contains(id, "/")
}

// queryOf are the query parameters that a method of the route takes.
func (r *route) queryOf(method string) []string {
	if method == http.MethodGet || method == http.MethodHead {
		return r.query
	}
	return nil
}

// checkQuery refuses query parameters that would have no effect.
func (r *route) checkQuery(q *http.Request) error {
	takes := r.queryOf(q.Method)
	given, err := url.ParseQuery(q.URL.RawQuery)
	if err != nil {
		return badRequest("", "the query string is malformed")
	}
	for name, values := range given {
		switch {
		case len(takes) == 0:
			return badRequest("", "no query parameters are taken here")
		case !slices.Contains(takes, name):
			return badRequest("", "unknown query parameter: "+strings.Join(takes, ", ")+" are taken here")
		case len(values) > 1:
			return badRequest("", "query parameter "+name+" stands twice")
		}
	}
	return nil
}

// handler is what the route does for a method; HEAD is a GET without a body.
func (r *route) handler(method string) (handler, error) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if h, ok := r.methods[method]; ok {
		return h, nil
	}
	allow := []string{}
	for m := range r.methods {
		allow = append(allow, m)
		if m == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	slices.Sort(allow)
	return nil, &problem{status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "method not allowed",
		header: http.Header{"Allow": {strings.Join(allow, ", ")}}}
}
