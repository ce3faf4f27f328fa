package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"aisix/admin/ledger"
)

// Usage answers what calls have cost; ledger.Ledger does.
type Usage interface {
	Totals(ctx context.Context, from, to time.Time, groupBy string) ([]ledger.Row, error)
}

// usageRow is one group's totals. Its group is a member named as group_by.
type usageRow struct {
	Requests         int64 `json:"requests"`
	Succeeded        int64 `json:"succeeded"`
	Refused          int64 `json:"refused"`
	Failed           int64 `json:"failed"`
	PromptTokens     int64 `json:"prompt_tokens"`
	CompletionTokens int64 `json:"completion_tokens"`
	CachedTokens     int64 `json:"cached_tokens"`
	ReasoningTokens  int64 `json:"reasoning_tokens"`
	TotalTokens      int64 `json:"total_tokens"`
}

// totals answers GET /admin/v1/usage?from=&to=&group_by=key|model: a bare array of
// rows for the UTC days from that of from to that of to.
func (s *Server) totals(a *answer, r *http.Request, _ string) error {
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
	rows := make([]json.RawMessage, len(found))
	for i, f := range found {
		if rows[i], err = row(groupBy, f); err != nil {
			return err
		}
	}
	return a.json(http.StatusOK, rows)
}

// row puts the group before its numbers.
func row(groupBy string, f ledger.Row) (json.RawMessage, error) {
	group, err := json.Marshal(map[string]string{groupBy: f.Group})
	if err != nil {
		return nil, err
	}
	numbers, err := json.Marshal(usageRow{f.Requests, f.Succeeded, f.Refused, f.Failed, f.PromptTokens, f.CompletionTokens,
		f.CachedTokens, f.ReasoningTokens, f.TotalTokens})
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(group[:len(group)-1], ",%s", numbers[1:]), nil
}

func instant(text string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339, text)
}
