package e2e

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	usagev1 "aisix/proto/aisix/v1"
)

// scrape is what extproc's metrics say, by name and labels.
func (g *gateway) scrape(t *testing.T) map[string]float64 {
	t.Helper()
	a, err := do(t.Context(), http.MethodGet, g.metrics, "", "")
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("metrics: %d %v", a.status, err)
	}
	values := map[string]float64{}
	for line := range strings.Lines(a.body) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			values[name] = v
		}
	}
	return values
}

// The metrics that the contract names are there, with what was done.
func TestMetrics(t *testing.T) {
	t.Parallel()
	c := shared(t).tenant(t, newUpstream(t, nil).URL, settings{key: map[string]any{"rate_limit": map[string]any{"rpd": 1}}})
	c.served(t)
	c.chat(t.Context(), "One too many")
	other := c.gateway.tenant(t, newUpstream(t, nil).URL, settings{})
	if all, err := do(t.Context(), http.MethodPost, c.proxy+"/v1/chat/completions", other.key, `{"model":"nobody-has-it","messages":[{"role":"user","content":"x"}]}`); err != nil || all.status != http.StatusNotFound {
		t.Errorf("%d %v", all.status, err)
	}
	m := c.scrape(t)
	labels := `model="` + c.alias + `",`
	for name, want := range map[string]float64{
		`aisix_requests_total{` + labels + `outcome="succeeded",provider="amazon-bedrock",status="200"}`:  1,
		`aisix_request_duration_seconds_count{` + labels + `provider="amazon-bedrock",stream="false"}`:    1,
		`aisix_time_to_first_token_seconds_count{` + labels + `provider="amazon-bedrock",stream="false"}`: 1,
		`aisix_tokens_total{kind="prompt",` + labels + `provider="amazon-bedrock"}`:                       3,
		`aisix_tokens_total{kind="completion",` + labels + `provider="amazon-bedrock"}`:                   2,
		`aisix_redis_away`:                         0,
		`aisix_redis_failures_total{use="limits"}`: 0,
		`aisix_panics_total`:                       0,
		`aisix_usage_records_lost_total`:           0,
	} {
		if got := m[name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for name, least := range map[string]float64{
		`aisix_requests_total{model="",outcome="refused",provider="",status="429"}`:        1, // before its body named a model
		`aisix_requests_total{model="unknown",outcome="refused",provider="",status="404"}`: 1,
		`aisix_rate_limit_rejections_total{limit="rpd",scope="apikey"}`:                    1,
		`aisix_config_revision`: 3,
	} {
		if m[name] < least {
			t.Errorf("%s is %v, want %v or more", name, m[name], least)
		}
	}
	if age, ok := m[`aisix_config_age_seconds`]; !ok || age < 0 || age > 5 {
		t.Errorf("aisix_config_age_seconds is %v", age)
	}
}

// Every request leaves one usage record, with all that the contract lists and nothing of what was said.
func TestUsageRecord(t *testing.T) {
	t.Parallel()
	g := shared(t)
	c := g.tenant(t, g.SimURL(), settings{id: claude})
	e := c.stream(t, t.Context(), "A secret question")
	id := e.Header.Get("x-aisix-request-id")
	if all, err := e.rest(); len(all) == 0 || all[len(all)-1] != "[DONE]" {
		t.Fatalf("%q, %v", all, err)
	}
	redis := redisClient(t, g)
	var record usagev1.Record
	eventually(t, patience, func() error {
		entries, err := redis.XRange(t.Context(), "{aisix:usage}:records", "-", "+").Result()
		if err != nil {
			return err
		}
		for _, entry := range entries {
			raw, _ := entry.Values["r"].(string)
			if strings.Contains(raw, "secret question") {
				t.Error("a record holds the prompt")
			}
			if err := proto.Unmarshal([]byte(raw), &record); err != nil {
				return err
			}
			if record.RequestId == id {
				return nil
			}
		}
		return errors.New("no record of the request")
	})
	if len(record.Tries) != 1 || record.Tries[0].UpstreamRequestId == "" || record.Tries[0].Status != 200 || record.Tries[0].Latency.AsDuration() <= 0 || record.Tries[0].ProviderKeyId != record.ProviderKeyId ||
		record.KeyId != c.keyID || record.Alias != c.alias || record.ModelId != c.modelID || record.UpstreamModel != claude || record.ProviderKeyId == "" ||
		record.Status != 200 || record.Outcome != usagev1.Outcome_OUTCOME_SUCCEEDED || record.GetPromptTokens() == 0 || record.GetCompletionTokens() == 0 ||
		record.Latency.AsDuration() <= 0 || record.TimeToFirstToken.AsDuration() <= 0 || !record.Stream || record.Attempts != 1 || record.ClientAddress != "127.0.0.1" || record.Partial || record.Operation != "converse" || record.Dialect != "openai.chat" {
		t.Errorf("the record: %v", &record)
	}
}
