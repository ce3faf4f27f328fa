package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aisix/admin/ledger"
	"aisix/admin/store/redistest"
)

const aProviderKey = `{"display_name":%q,"secret":"{\"access_key_id\":\"AKIAPLAINTEXT\",\"secret_access_key\":\"s3cr3t-plaintext\",\"session_token\":\"tok3n-plaintext\",\"region\":\"us-west-2\"}"}`

// A caller without a key is told so before its body has come.
func TestTheKeyIsCheckedBeforeTheBodyIsRead(t *testing.T) {
	a := start(t)
	c, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprint(c, "POST /admin/v1/models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || r.StatusCode != http.StatusUnauthorized {
		t.Errorf("%v, %v", r, err)
	}
}

func TestTwoKeysAreNone(t *testing.T) {
	a := start(t)
	for _, name := range []string{"Authorization", "X-Api-Key"} {
		r, _ := http.NewRequest("GET", a.url+"/admin/v1/models", nil)
		for range 2 {
			r.Header.Add(name, map[string]string{"Authorization": "Bearer " + adminKey, "X-Api-Key": adminKey}[name])
		}
		if got := a.send(r); got.status != http.StatusUnauthorized {
			t.Errorf("%s twice: %d", name, got.status)
		}
	}
}

func TestBodySize(t *testing.T) {
	a := start(t)
	body := func(n int) string {
		return `{"allowed_models":[]` + strings.Repeat(" ", n-len(`{"allowed_models":[]}`)) + "}"
	}
	if got := a.do("POST", "/admin/v1/apikeys", body(MaxBody)); got.status != http.StatusCreated {
		t.Errorf("a body of the limit: %d %s", got.status, got.body)
	}
	if got := a.do("POST", "/admin/v1/apikeys", body(MaxBody+1)); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over the limit: %d %s", got.status, got.body)
	}
	chunked, _ := http.NewRequest("POST", a.url+"/admin/v1/apikeys", io.MultiReader(strings.NewReader(body(MaxBody+1))))
	chunked.Header.Set("Authorization", "Bearer "+adminKey)
	chunked.Header.Set("Content-Type", "application/json")
	if got := a.send(chunked); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a chunked body over the limit: %d %s", got.status, got.body)
	}
	untyped, _ := http.NewRequest("POST", a.url+"/admin/v1/apikeys", io.MultiReader(strings.NewReader("{}")))
	untyped.Header.Set("Authorization", "Bearer "+adminKey)
	if got := a.send(untyped); got.status != http.StatusUnsupportedMediaType {
		t.Errorf("a chunked body without a type: %d %s", got.status, got.body)
	}
}

func TestBadJSONIsNeverOurFault(t *testing.T) {
	a := start(t)
	for _, body := range []string{
		"\xff", "{\"display_name\":\"\xff\"}", "\ufeff{}", "{\"a\":\x00}", `{"a":1e999999999}`, `{"timeout":1e999999999}`, `{"max_tokens":-0}`, "nul", `{"":1}`, `{"\u0000":1}`,
		`{"display_name":"\ud800"}`, strings.Repeat("[", 1<<20), strings.Repeat(`{"a":`, 1<<18), `{"timeout":` + strings.Repeat("9", 1<<20) + `}`, `"` + strings.Repeat("a", 1<<20) + `"`,
	} {
		for _, collection := range []string{"provider_keys", "models", "apikeys"} {
			got := a.do("POST", "/admin/v1/"+collection, body)
			if got.status != http.StatusBadRequest || len(got.body) > 1000 {
				t.Errorf("%.40q: %d %.200s", body, got.status, got.body)
			}
		}
	}
}

func TestOneOfManyConcurrentWritersGetsAName(t *testing.T) {
	a := start(t)
	both := []*api{a, startOn(t, a.valkey)}
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			switch got := both[i%2].do("POST", "/admin/v1/provider_keys", fmt.Sprintf(aProviderKey, "same")); got.status {
			case http.StatusCreated:
				won.Add(1)
			case http.StatusConflict:
				lost.Add(1)
			default:
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 39 {
		t.Errorf("%d won, %d lost", won.Load(), lost.Load())
	}
}

// Of conditional writes at one revision one wins: nothing is overwritten unseen.
func TestOneOfManyConditionalWritersWins(t *testing.T) {
	a := start(t)
	location := a.must("POST", "/admin/v1/apikeys", `{"allowed_models":[]}`).header.Get("Location")
	var won, lost atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			switch got := a.do("PATCH", location, fmt.Sprintf(`{"team_id":"t%d"}`, i), `If-Match: "1"`); got.status {
			case http.StatusOK:
				won.Add(1)
			case http.StatusPreconditionFailed:
				lost.Add(1)
			default:
				t.Errorf("%d %s", got.status, got.body)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 19 {
		t.Errorf("%d won, %d lost", won.Load(), lost.Load())
	}
}

func TestAProviderKeyInUseNamesItsModels(t *testing.T) {
	a := start(t)
	key := a.must("POST", "/admin/v1/provider_keys", fmt.Sprintf(aProviderKey, "one")).header.Get("Location")
	id := key[strings.LastIndexByte(key, '/')+1:]
	for i := range 22 {
		a.must("POST", "/admin/v1/models", fmt.Sprintf(`{"display_name":"m%d","model_name":"amazon.nova-pro-v1:0","provider_key_id":%q}`, i, id))
	}
	got := a.do("DELETE", key, "")
	if got.status != http.StatusConflict || !strings.Contains(got.body, "m0, m1, m2,") || !strings.Contains(got.body, "m19 and 2 more") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestNoSecretIsLoggedOrShown(t *testing.T) {
	a := start(t)
	var shown strings.Builder
	key := a.must("POST", "/admin/v1/provider_keys", fmt.Sprintf(aProviderKey, "one"))
	location := key.header.Get("Location")
	shown.WriteString(key.body)
	for _, x := range []struct{ method, path, body string }{
		{"GET", location, ""}, {"GET", "/admin/v1/provider_keys", ""}, {"PUT", location, fmt.Sprintf(aProviderKey, "two")},
		{"POST", "/admin/v1/provider_keys", fmt.Sprintf(aProviderKey, "two")}, // taken
		{"POST", "/admin/v1/provider_keys", strings.Replace(fmt.Sprintf(aProviderKey, "x"), "region", "regoin", 1)},
		{"PATCH", location, `{"api_key":"s3cr3t-plaintext"}`},
		{"GET", "/admin/v1/models/s3cr3t-plaintext?x=s3cr3t-plaintext", ""},
		{"DELETE", location, ""},
	} {
		shown.WriteString(a.do(x.method, x.path, x.body).body)
	}
	a.do("GET", "/admin/v1/models", "", "Authorization: Bearer s3cr3t-plaintext")
	key = a.must("POST", "/admin/v1/apikeys", `{"allowed_models":[]}`)
	_, after, _ := strings.Cut(key.body, `"plaintext":"`)
	plaintext, _, _ := strings.Cut(after, `"`)
	log := strings.ReplaceAll(a.log.String(), "/admin/v1/models/s3cr3t-plaintext", "") // a path is logged
	for _, secret := range []string{"AKIAPLAINTEXT", "s3cr3t-plaintext", "tok3n-plaintext"} {
		if strings.Contains(shown.String(), secret) {
			t.Errorf("%s is shown: %s", secret, shown.String())
		}
	}
	for _, secret := range []string{"AKIAPLAINTEXT", "s3cr3t-plaintext", "tok3n-plaintext", adminKey, plaintext} {
		if strings.Contains(log, secret) {
			t.Errorf("%s is logged: %s", secret, log)
		}
	}
	if n := strings.Count(log, "\n"); n < 10 || !strings.Contains(log, `"status":401`) {
		t.Errorf("%d log lines: %s", n, log)
	}
}

func TestDrain(t *testing.T) {
	a := start(t)
	a.must("GET", "/readyz", "")
	a.must("GET", "/livez", "")
	if a.log.Len() > 0 {
		t.Errorf("health checks fill the log: %s", a.log)
	}
	a.server.Drain()
	if got := a.do("GET", "/readyz", ""); got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "draining") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if !strings.Contains(a.log.String(), `"path":"/readyz","status":503`) {
		t.Errorf("a failed probe is not logged: %s", a.log)
	}
	a.must("GET", "/admin/v1/health", "")
	a.must("GET", "/livez", "")
}

type brokenUsage struct{ err error }

func (b brokenUsage) Totals(context.Context, time.Time, time.Time, string) ([]ledger.Row, error) {
	if b.err == nil {
		panic("no totals")
	}
	return nil, b.err
}

func TestAFaultOfOursSaysNothing(t *testing.T) {
	a := startOn(t, redistest.Start(t))
	for _, err := range []error{nil, errors.New("secret detail")} {
		a.server.usage = brokenUsage{err}
		r, _ := http.NewRequest("GET", a.url+"/admin/v1/usage", nil)
		r.Header.Set("Authorization", "Bearer "+adminKey)
		response, e := http.DefaultClient.Do(r)
		if e != nil {
			t.Fatal(e)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode < 500 || strings.Contains(string(body), "detail") || !strings.HasPrefix(string(body), `{"error_msg":"`) {
			t.Errorf("%v: %d %s", err, response.StatusCode, body)
		}
	}
	if !strings.Contains(a.log.String(), "no totals") || !strings.Contains(a.log.String(), "secret detail") {
		t.Errorf("the log has no cause: %s", a.log)
	}
	a.must("GET", "/livez", "")
}

func TestNoKeyIsNoServer(t *testing.T) {
	if _, err := New(Options{}); err == nil || !strings.Contains(err.Error(), "admin.key") {
		t.Error(err)
	}
}
