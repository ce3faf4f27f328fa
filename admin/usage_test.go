package admin

import (
	"net/http"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "aisix/proto/aisix/v1"
)

func TestUsage(t *testing.T) {
	a := start(t)
	now := time.Date(2026, 3, 2, 23, 30, 0, 0, time.UTC)
	a.server.now = func() time.Time { return now }
	record := func(at time.Time, key, alias string, outcome usagev1.Outcome) *usagev1.Record {
		return &usagev1.Record{Time: timestamppb.New(at), KeyId: key, ModelAlias: alias, Outcome: outcome,
			PromptTokens: proto.Int64(10), CompletionTokens: proto.Int64(5), CachedTokens: proto.Int64(2), CacheWriteTokens: proto.Int64(4), CacheWrite_1HTokens: proto.Int64(3), ReasoningTokens: proto.Int64(1), ServerToolRequests: proto.Int64(6)}
	}
	a.spend(
		record(now, "k1", "claude", usagev1.Outcome_OUTCOME_SUCCEEDED),
		record(now, "k1", "nova-*", usagev1.Outcome_OUTCOME_FAILED),
		record(now.Add(-time.Hour), "k2", "nova-*", usagev1.Outcome_OUTCOME_REFUSED),
		record(now.Add(-24*time.Hour), "k1", "claude", usagev1.Outcome_OUTCOME_CANCELLED),
		record(now.Add(time.Hour), "k3", "claude", usagev1.Outcome_OUTCOME_SUCCEEDED), // tomorrow
		record(now, "", "", usagev1.Outcome_OUTCOME_REFUSED),                          // no key, no model
	)
	const (
		none  = `"requests":1,"succeeded":0,"refused":1,"failed":0,"prompt_tokens":10,"completion_tokens":5,"cached_tokens":2,"cache_write_tokens":4,"cache_write_1h_tokens":3,"reasoning_tokens":1,"server_tool_requests":6,"total_tokens":15}`
		one   = `"requests":1,"succeeded":1,"refused":0,"failed":0,"prompt_tokens":10,"completion_tokens":5,"cached_tokens":2,"cache_write_tokens":4,"cache_write_1h_tokens":3,"reasoning_tokens":1,"server_tool_requests":6,"total_tokens":15}`
		two   = `"requests":2,"succeeded":1,"refused":0,"failed":1,"prompt_tokens":20,"completion_tokens":10,"cached_tokens":4,"cache_write_tokens":8,"cache_write_1h_tokens":6,"reasoning_tokens":2,"server_tool_requests":12,"total_tokens":30}`
		other = `"requests":2,"succeeded":0,"refused":1,"failed":1,"prompt_tokens":20,"completion_tokens":10,"cached_tokens":4,"cache_write_tokens":8,"cache_write_1h_tokens":6,"reasoning_tokens":2,"server_tool_requests":12,"total_tokens":30}`
		three = `"requests":3,"succeeded":1,"refused":0,"failed":2,"prompt_tokens":30,"completion_tokens":15,"cached_tokens":6,"cache_write_tokens":12,"cache_write_1h_tokens":9,"reasoning_tokens":3,"server_tool_requests":18,"total_tokens":45}`
	)
	today := `[{"key":"",` + none + `,{"key":"k1",` + two + `,{"key":"k2",` + none + `]`
	for query, want := range map[string]string{
		"":                           today,
		"?group_by=key":              today,
		"?group_by=model":            `[{"model":"",` + none + `,{"model":"claude",` + one + `,{"model":"nova-*",` + other + `]`,
		"?from=2026-03-02":           today,
		"?to=2026-03-02":             today,
		"?from=2026-03-02T04:00:00Z": today, // the whole day
		"?from=2026-03-01":           `[{"key":"",` + none + `,{"key":"k1",` + three + `,{"key":"k2",` + none + `]`,
		"?from=2026-03-03T00:30:00%2B02:00&to=2026-03-02": today, // the 2nd in UTC
		"?from=2026-03-03&to=2026-03-03":                  `[{"key":"k3",` + one + `]`,
		"?from=2020-01-01&to=2020-02-01":                  `[]`,
	} {
		if got := a.do("GET", "/admin/v1/usage"+query, ""); got.status != http.StatusOK || got.body != want {
			t.Errorf("%q: %d\n%s\nwant\n%s", query, got.status, got.body, want)
		}
	}
	for query, want := range map[string]string{
		"?from=2026-03-03":             `{"error_msg":"to is before from","code":"invalid_request"}`,
		"?to=2026-03-01":               `{"error_msg":"to is before from","code":"invalid_request"}`,
		"?from=yesterday":              `{"error_msg":"from must be a day as 2006-01-02, or a time as RFC 3339 has it","code":"invalid_request"}`,
		"?to=1772323200":               `{"error_msg":"to must be a day as 2006-01-02, or a time as RFC 3339 has it","code":"invalid_request"}`,
		"?from=":                       `{"error_msg":"from must be a day as 2006-01-02, or a time as RFC 3339 has it","code":"invalid_request"}`,
		"?from=2020-01-01":             `{"error_msg":"from and to are more than 400 days apart","code":"invalid_request"}`,
		"?group_by=colour":             `{"error_msg":"group_by must be key or model","code":"invalid_request"}`,
		"?group_by=":                   `{"error_msg":"group_by must be key or model","code":"invalid_request"}`,
		"?group_by=key&group_by=model": `{"error_msg":"query parameter group_by stands twice","code":"invalid_request"}`,
		"?key=k1":                      `{"error_msg":"unknown query parameter: from, group_by, to are taken here","code":"invalid_request"}`,
	} {
		if got := a.do("GET", "/admin/v1/usage"+query, ""); got.status != http.StatusBadRequest || got.body != want {
			t.Errorf("%q: %d %s, want %s", query, got.status, got.body, want)
		}
	}
}
