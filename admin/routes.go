package admin

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"aisix/admin/resource"
)

// request is one request as a handler has it.
type request struct {
	*http.Request
	id string // what stands for {id} in the path
}

// handler answers one request; an error that it returns is answered as JSON.
type handler func(a *answer, r *request) error

// route is one HTTP path and what each method does there.
type route struct {
	path    string // may hold one {id}
	aliasOf string // the path that this is another of, "" if none
	idText  string // what stands for {id}, "" if it is a resource's
	role    role   // whom it is for
	probe   bool   // asked by whatever name an orchestrator has for it
	methods map[string]action
}

// action is what a method does at a path, and what openapi.json says of it.
type action struct {
	do      handler
	name    string // its operationId
	tag     string
	summary string
	text    string // more, where there is more to say
	query   []parameter
	takes   *content // its body; nil: it has none
	ifMatch bool     // it may be conditional
	gives   given
	fails   []int // with which statuses, beside those of its route
}

// table is every path of the Admin API.
func (s *Server) table() []route {
	table := slices.Concat(s.statusRoutes(), s.usageRoutes())
	for _, row := range resource.Table {
		table = append(table, collection{Server: s, Row: row, path: base + string(row.Kind)}.routes()...)
		if row.Alias != "" {
			table = append(table, collection{Server: s, Row: row, path: base + row.Alias}.routes()...)
		}
	}
	return table
}

const base = "/admin/v1/"

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

// action is what the route does for a method; HEAD is a GET without a body.
func (r *route) action(method string) (action, error) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if does, ok := r.methods[method]; ok {
		return does, nil
	}
	allow := []string{}
	for m := range r.methods {
		allow = append(allow, m)
		if m == http.MethodGet {
			allow = append(allow, http.MethodHead)
		}
	}
	slices.Sort(allow)
	return action{}, &problem{status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "method not allowed",
		header: http.Header{"Allow": {strings.Join(allow, ", ")}}}
}

// checkQuery refuses query parameters that would have no effect.
func (does *action) checkQuery(r *http.Request) error {
	given, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badRequest("", "the query string is malformed")
	}
	var takes []string
	for _, p := range does.query {
		takes = append(takes, p.Name)
	}
	slices.Sort(takes)
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
