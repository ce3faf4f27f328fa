package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"aisix/cmd/internal/stack"
	usagev1 "aisix/proto/aisix/v1"
)

// records are all usage records in the gateway's Valkey.
func (g *gateway) records(t *testing.T) []*usagev1.Record {
	t.Helper()
	entries, err := redisClient(t, g).XRange(t.Context(), "{aisix:usage}:records", "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	records := make([]*usagev1.Record, len(entries))
	for i, entry := range entries {
		raw, _ := entry.Values["r"].(string)
		records[i] = &usagev1.Record{}
		if err := proto.Unmarshal([]byte(raw), records[i]); err != nil {
			t.Fatal(err)
		}
	}
	return records
}

// One byte of an upstream's request id that is not UTF-8 costs no record, this call's or another's.
func TestUpstreamRequestIDThatIsNotUTF8(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for _, stream := range []bool{false, true} {
		c := g.tenant(t, newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Amzn-Requestid", "aws-\xffid\xc3-"+strings.Repeat("long", 1000))
			if isStream(r) {
				streaming(w)
				emit(w, "messageStart", `{"role":"assistant"}`)
				emit(w, "contentBlockDelta", delta("Hello."))
				finish(w)
				return
			}
			whole(w, "Hello.")
		}).URL, settings{})
		if !stream {
			c.served(t)
		} else if _, err := c.stream(t, t.Context(), "Hello").rest(); err != io.EOF {
			t.Error(err)
		}
		g.accounted(t, c, 1)
		for _, r := range g.records(t) {
			if r.KeyId == c.keyID && r.Attempts == 1 && (len(r.Tries) != 1 || !strings.HasPrefix(r.Tries[0].UpstreamRequestId, "aws-\uFFFDid\uFFFD-long") || len(r.Tries[0].UpstreamRequestId) > 300) {
				t.Errorf("recorded %q", r.Tries)
			}
		}
	}
	g.tenant(t, newUpstream(t, nil).URL, settings{}).served(t)
	if lost := g.scrape(t)["aisix_usage_records_lost_total"]; lost != 0 {
		t.Errorf("%v records lost", lost)
	}
}

// flood sends rounds of requests, many at a time, until enough says so, and gives how many were sent.
func (g *gateway) flood(t *testing.T, key, body string, status int, enough func() bool) (sent int) {
	t.Helper()
	keepAlive := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer keepAlive.CloseIdleConnections()
	for end := time.Now().Add(patience); !enough(); sent += 16 * 25 {
		if time.Now().After(end) {
			t.Fatalf("%d requests, and nothing is summed", sent)
		}
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for range 25 {
					r, err := http.NewRequest(http.MethodPost, g.proxy+"/v1/chat/completions", strings.NewReader(body))
					if err != nil {
						t.Error(err)
						return
					}
					r.Header.Set("Authorization", "Bearer "+key)
					a, err := keepAlive.Do(r)
					if err != nil {
						t.Error(err)
						return
					}
					io.Copy(io.Discard, a.Body)
					a.Body.Close()
					if a.StatusCode != status {
						t.Errorf("status %d, want %d", a.StatusCode, status)
					}
				}
			})
		}
		all.Wait()
	}
	return sent
}

// told is how many requests the access log has of those that is says: one by one, and in sums.
func (g *gateway) logged(is func(line map[string]any) bool) (single, summed int) {
	for _, line := range g.lines() {
		switch {
		case !is(line):
		case line["msg"] == "request":
			single++
		case line["msg"] == "requests not logged one by one":
			count, _ := line["count"].(float64)
			summed += int(count)
		}
	}
	return single, summed
}

// What costs a caller nothing fills neither the log nor the ledger, and is counted to the last call.
func TestFloodOfRefusals(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	c := g.tenant(t, newUpstream(t, nil).URL, settings{key: map[string]any{"rate_limit": map[string]any{"rpm": 0}}})
	before := len(g.records(t))

	t.Run("without a key", func(t *testing.T) {
		unknown := func() float64 {
			return g.scrape(t)[`aisix_requests_total{model="",outcome="refused",provider="",status="401"}`]
		}
		anonymous := func() int {
			_, summed := g.logged(func(line map[string]any) bool { return line["client_address"] == "127.0.0.1" && line["key_id"] == nil })
			return summed
		}
		counted, already := unknown(), anonymous()
		sent := g.flood(t, "sk-nobody", c.ask("Hello", false), http.StatusUnauthorized, func() bool { return anonymous() > already })
		eventually(t, patience, func() error {
			if got := unknown() - counted; got != float64(sent) {
				return fmt.Errorf("%v of %d are in the metric", got, sent)
			}
			return nil
		})
		for _, r := range g.records(t) {
			if r.KeyId == "" {
				t.Fatalf("a record without a key: %v", r)
			}
		}
	})

	t.Run("of a key", func(t *testing.T) {
		ours := func(line map[string]any) bool {
			return line["key_id"] == c.keyID && (line["status"] == float64(429) || line["statuses"] != nil)
		}
		sent := g.flood(t, c.key, c.ask("Hello", false), http.StatusTooManyRequests, func() bool { _, summed := g.logged(ours); return summed > 0 })
		eventually(t, patience, func() error {
			var records int
			var calls int64
			for _, r := range g.records(t)[before:] {
				if r.KeyId == c.keyID && r.Status == http.StatusTooManyRequests {
					records++
					calls += max(1, r.Count)
				}
			}
			single, summed := g.logged(ours)
			switch {
			case calls != int64(sent):
				return fmt.Errorf("%d records stand for %d calls, %d were made", records, calls, sent)
			case single+summed != sent || single >= sent:
				return fmt.Errorf("%d lines and %d calls in sums, %d were made", single, summed, sent)
			case records >= sent:
				t.Fatalf("%d records of %d calls", records, calls)
			}
			return nil
		})
		for _, by := range []string{"key", "model"} {
			a, err := g.manage(t.Context(), http.MethodGet, "/admin/v1/usage?group_by="+by, nil)
			if err != nil || !strings.Contains(a.body, fmt.Sprintf(`"refused":%d`, sent)) || strings.Contains(a.body, `"key":""`) {
				t.Errorf("%d calls refused; totals by %s: %s, %v", sent, by, a.body, err)
			}
		}
		// Some were refused before their bodies named a model.
		refused := 0.0
		m := g.scrape(t)
		for _, labels := range []string{`model="",outcome="refused",provider=""`, `model="` + c.alias + `",outcome="refused",provider="amazon-bedrock"`} {
			refused += m[`aisix_requests_total{`+labels+`,status="429"}`]
		}
		if refused != float64(sent) || m["aisix_usage_records_lost_total"] != 0 {
			t.Error("not every call is in the metric")
		}
	})
}

// A key that was typed into the wrong place is in no log and in no record.
func TestKeyInTheWrongPlace(t *testing.T) {
	t.Parallel()
	g := shared(t)
	echo := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amzn-Errortype", "ValidationException")
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"message":"no such model: `+strings.TrimPrefix(r.URL.Path, "/model/")+`"}`)
	})
	provider := g.create(t, "provider_keys", map[string]any{"display_name": "wrongplace", "api_base": echo.URL,
		"secret": `{"access_key_id":"YOUR_AWS_ACCESS_KEY_ID","secret_access_key":"YOUR_AWS_SECRET_ACCESS_KEY","region":"us-west-2"}`})
	g.create(t, "models", map[string]any{"display_name": "wrongplace/*", "model_name": "*", "provider_key_id": provider})
	plain := g.tenant(t, newUpstream(t, nil).URL, settings{key: map[string]any{"allowed_models": []string{"*"}}})
	const pasted = "wJalrXUtnFEMIzK7MDENGzbPxRfiCYEXAMPLEKEY"
	ask := func(model string) string {
		return `{"model":"` + model + `","messages":[{"role":"user","content":"Hello"}]}`
	}
	for _, test := range []struct {
		key, path, body string
		header          []string
		status          int
	}{
		{plain.key, "/v1/chat/completions", ask(plain.key), nil, http.StatusNotFound},
		{plain.key, "/v1/chat/completions", ask(pasted), nil, http.StatusNotFound},
		{plain.key, "/v1/chat/completions", ask("wrongplace/" + plain.key), nil, http.StatusBadRequest},
		{plain.key, "/v1/chat/completions", ask("wrongplace/" + pasted), nil, http.StatusBadRequest},
		{plain.key, "/v1/chat/completions", ask(plain.alias), []string{"x-request-id", plain.key}, http.StatusOK},
		{plain.key, "/v1/models/" + plain.key, "", nil, http.StatusNotFound},
		{plain.key, "/" + pasted, "", nil, http.StatusNotFound},
		{"sk-nobody", "/v1/models/" + plain.key, "", nil, http.StatusUnauthorized},
	} {
		method := http.MethodPost
		if test.body == "" {
			method = http.MethodGet
		}
		a, err := do(t.Context(), method, g.proxy+test.path, test.key, test.body, test.header...)
		if err != nil || a.status != test.status {
			t.Errorf("%s %s: %d %s, %v", test.path, test.body, a.status, a.body, err)
		}
	}
	for _, part := range g.Parts() {
		if log := string(part.Log()); strings.Contains(log, plain.key) || strings.Contains(log, pasted) {
			t.Errorf("%s logs a key", part.Name)
		}
	}
	g.accounted(t, plain, 1)
	eventually(t, patience, func() error {
		unknown := 0
		for _, r := range g.records(t) {
			if text := r.String(); strings.Contains(text, plain.key) || strings.Contains(text, pasted) {
				t.Fatalf("a record holds a key: %s", text)
			}
			if r.KeyId == plain.keyID && r.Alias == "[redacted]" {
				unknown++
			}
		}
		if unknown != 4 {
			return fmt.Errorf("%d records of a key in model, want 4", unknown)
		}
		return nil
	})
}

// What somebody else wrote into Redis under the ledger's names costs neither a record nor an answer.
func TestForeignKeysInTheLedger(t *testing.T) {
	t.Parallel()
	g := start(t, options{})
	client := redisClient(t, g)
	upstream := newUpstream(t, nil).URL
	today := "{aisix:usage}:totals:" + time.Now().UTC().Format(time.DateOnly)
	first := g.tenant(t, upstream, settings{})
	first.served(t)
	g.accounted(t, first, 1)
	client.HSet(t.Context(), today, "note", "hands off", "a\nb\nrequests", "many")
	client.Set(t.Context(), "{aisix:usage}:totals:"+time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly), "x", 0)
	g.accounted(t, first, 1)
	a, err := g.manage(t.Context(), http.MethodGet, "/admin/v1/usage?group_by=model&from="+time.Now().UTC().AddDate(0, 0, -2).Format(time.DateOnly), nil)
	if err != nil || a.status != http.StatusOK || !strings.Contains(a.body, first.alias) {
		t.Errorf("a foreign key and fields: %d %s, %v", a.status, a.body, err)
	}

	client.Del(t.Context(), today, "{aisix:usage}:records")
	client.Set(t.Context(), today, "x", 0)
	client.Set(t.Context(), "{aisix:usage}:records", "x", 0)
	second := g.tenant(t, upstream, settings{})
	for range 3 {
		second.served(t)
	}
	g.accounted(t, second, 3)
	n := 0
	for _, r := range g.records(t) {
		if r.KeyId == second.keyID && r.Outcome == usagev1.Outcome_OUTCOME_SUCCEEDED && r.Attempts == 1 {
			n++
		}
	}
	if aside := client.Keys(t.Context(), "{aisix:usage}:aside:*").Val(); n != 3 || len(aside) != 2 {
		t.Errorf("%d records, set aside: %v", n, aside)
	}
}

// /metrics is all that its listener has.
func TestNothingButMetrics(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/metrics", 200}, {http.MethodHead, "/metrics", 200},
		{http.MethodPost, "/metrics", 405}, {http.MethodGet, "/", 404}, {http.MethodGet, "/metrics/x", 404}, {http.MethodGet, "/debug/pprof/", 404},
	} {
		a, err := do(t.Context(), test.method, strings.TrimSuffix(g.metrics, "/metrics")+test.path, "", "")
		if err != nil || a.status != test.status || (a.header.Get("Allow") == "GET, HEAD") != (test.status == 405) {
			t.Errorf("%s %s: %d, allow %q, %v", test.method, test.path, a.status, a.header.Get("Allow"), err)
		}
	}
}

// The next extproc starts while the one before drains, on the same addresses and the same spool, with Valkey
// away meanwhile: nobody is turned away for long, and every call is accounted for once.
func TestSuccessorDuringTheDrain(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if !isStream(r) {
			whole(w, "Hello.")
			return
		}
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		emit(w, "contentBlockDelta", delta("Once upon"))
		select {
		case <-release:
			finish(w)
		case <-r.Context().Done():
		}
	})
	g := start(t, options{})
	c := g.tenant(t, u.URL, settings{})
	e := c.stream(t, t.Context(), "A story")
	if _, err := e.next(); err != nil {
		t.Fatal(err)
	}
	g.Extproc.Signal(syscall.SIGTERM)
	next, err := newGateway(options{dir: t.TempDir(), parts: []string{stack.Extproc}, redis: g.Config.Redis.URL, key: g.Config.Secrets.MasterKeyFile, env: []string{
		"AISIX_EXTPROC__ADDRESS=" + g.Config.Extproc.Address, "AISIX_METRICS__ADDRESS=" + g.Config.Metrics.Address, "AISIX_USAGE__SPOOL_DIR=" + g.Config.Usage.SpoolDir,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		next.Kill()
		if races := next.races(); races != "" {
			t.Error(races)
		}
		if t.Failed() {
			t.Log(next.logs())
		}
	})
	eventually(t, patience, func() error { return next.Start(t.Context()) })
	eventually(t, patience, func() error {
		a, err := do(t.Context(), http.MethodGet, g.proxy+"/readyz", "", "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
	if !g.Extproc.Running() {
		t.Fatal("the first ended with a stream open")
	}
	g.Valkey.Kill()
	for range 5 {
		c.served(t)
	}
	eventually(t, patience, func() error {
		if m := g.scrape(t); m[`aisix_requests_total{model="`+c.alias+`",outcome="succeeded",provider="amazon-bedrock",status="200"}`] != 5 {
			return errors.New("the metrics are not the successor's")
		}
		return nil
	})
	close(release)
	if all, err := e.rest(); err != io.EOF || len(all) == 0 || all[len(all)-1] != "[DONE]" {
		t.Errorf("the stream ended with %q, %v", all, err)
	}
	select {
	case <-g.Extproc.Exited():
	case <-time.After(patience):
		t.Fatal("the first still runs after its stream ended")
	}
	if log := string(g.Extproc.Log()); strings.Contains(log, "not everything was written") {
		t.Errorf("the first lost something:\n%s", log)
	}
	if err := g.Valkey.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.accounted(t, c, 6)
	if lost := g.scrape(t)["aisix_usage_records_lost_total"]; lost != 0 {
		t.Errorf("%v records lost", lost)
	}
}
