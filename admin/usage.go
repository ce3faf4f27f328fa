package admin

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"time"

	"aisix/admin/ledger"
	"aisix/admin/resource"
)

// Usage answers what calls have cost; ledger.Ledger does.
type Usage interface {
	Totals(ctx context.Context, from, to time.Time, groupBy string) ([]ledger.Row, error)
}

// usageRow is one group's totals. Its group is a member named as group_by.
type usageRow struct {
	// The API key's id, with group_by=key. Empty where a call had none.
	Key *string `json:"key,omitempty"`
	// The model's alias as its resource has it, with group_by=model. Empty where a call had none.
	Model *string `json:"model,omitempty"`
	// All calls: succeeded, refused and failed.
	Requests int64 `json:"requests" min:"0"`
	// Answered whole.
	Succeeded int64 `json:"succeeded" min:"0"`
	// Refused before any upstream was asked.
	Refused int64 `json:"refused" min:"0"`
	// Failed, or left by the caller.
	Failed int64 `json:"failed" min:"0"`
	// Read by the model, from a cache or not.
	PromptTokens int64 `json:"prompt_tokens" min:"0"`
	// Written by the model.
	CompletionTokens int64 `json:"completion_tokens" min:"0"`
	// Of prompt_tokens, those read from a cache.
	CachedTokens int64 `json:"cached_tokens" min:"0"`
	// Of prompt_tokens, those written to a cache, for 5 minutes or an hour.
	CacheWriteTokens int64 `json:"cache_write_tokens" min:"0"`
	// Of cache_write_tokens, those written for an hour.
	CacheWrite1hTokens int64 `json:"cache_write_1h_tokens" min:"0"`
	// Of completion_tokens, those spent on reasoning.
	ReasoningTokens int64 `json:"reasoning_tokens" min:"0"`
	// Uses of tools that the provider ran itself (web search and the like). No tokens.
	ServerToolRequests int64 `json:"server_tool_requests" min:"0"`
	// prompt_tokens and completion_tokens.
	TotalTokens int64 `json:"total_tokens" min:"0"`
}

func (s *Server) usageRoutes() []route {
	if s.usage == nil {
		return nil
	}
	day := resource.Schema{"type": "string", "anyOf": []any{resource.Schema{"format": "date"}, resource.Schema{"format": "date-time"}}}
	return []route{{path: base + "usage", methods: map[string]action{http.MethodGet: {do: s.totals, name: "usage", tag: "usage", summary: "Totals of what calls cost",
		text: "For the UTC days from that of from to that of to, both included, at most 400 of them. Sorted by group.",
		query: []parameter{
			{Name: "group_by", Text: "Default key.", Schema: resource.Schema{"enum": []string{ledger.ByKey, ledger.ByModel}}},
			{Name: "from", Text: "A day, or a time in it. Default today.", Schema: day},
			{Name: "to", Text: "A day, or a time in it. Default today.", Schema: day},
		},
		gives: given{text: "One row a group.", schema: usageRows}, fails: []int{503}}}}}
}

// usageRows is a list of usageRow, each with one group.
func usageRows(all *resource.Schemas) resource.Schema {
	row := all.Answer(reflect.TypeFor[usageRow]())
	all.Named["UsageRow"]["oneOf"] = []any{resource.Schema{"required": []string{ledger.ByKey}}, resource.Schema{"required": []string{ledger.ByModel}}}
	return resource.Schema{"type": "array", "items": row}
}

// totals answers GET /admin/v1/usage?from=&to=&group_by=key|model: a bare array of
// rows for the UTC days from that of from to that of to.
func (s *Server) totals(a *answer, r *request) error {
	query := r.URL.Query()
	today := s.now().UTC()
	from, to := today, today
	for _, end := range []struct {
		name string
		at   *time.Time
	}{{"from", &from}, {"to", &to}} {
		if !query.Has(end.name) {
			continue
		}
		var err error
		if *end.at, err = instant(query.Get(end.name)); err != nil {
			return badRequest("", end.name+" must be a day as 2006-01-02, or a time as RFC 3339 has it")
		}
	}
	groupBy := ledger.ByKey
	if query.Has("group_by") {
		groupBy = query.Get("group_by")
	}
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if _, err := s.store.Revision(ctx); err != nil { // what lost the resources has lost usage too
		return err
	}
	found, err := s.usage.Totals(ctx, from, to, groupBy)
	var refused *ledger.QueryError
	if errors.As(err, &refused) {
		return badRequest("", refused.Error())
	}
	if err != nil {
		return unavailable(err)
	}
	rows := make([]usageRow, len(found))
	for i, f := range found {
		rows[i] = row(groupBy, &f)
	}
	return a.json(http.StatusOK, rows)
}

// row has its group under the name that it was asked by.
func row(groupBy string, f *ledger.Row) usageRow {
	r := usageRow{Requests: f.Requests, Succeeded: f.Succeeded, Refused: f.Refused, Failed: f.Failed, PromptTokens: f.PromptTokens,
		CompletionTokens: f.CompletionTokens, CachedTokens: f.CachedTokens, CacheWriteTokens: f.CacheWriteTokens, CacheWrite1hTokens: f.CacheWrite1h,
		ReasoningTokens: f.ReasoningTokens, ServerToolRequests: f.ServerTools, TotalTokens: f.TotalTokens}
	switch groupBy {
	case ledger.ByKey:
		r.Key = &f.Group
	case ledger.ByModel:
		r.Model = &f.Group
	}
	return r
}

func instant(text string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339, text)
}
