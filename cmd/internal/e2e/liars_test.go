package e2e

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// liar is an upstream of its own in a region of its own. It believes nothing that it is sent, and does
// with a call what chance says: which is the same for the same seed, region and call, whenever that comes.
type liar struct {
	*httptest.Server
	name, region, host string
	api, model, path   string // path: of the APIs that do not name the model in it
	secret             string
	seed               uint64
	good               int // of a hundred calls, those that it answers
	number             int
	http2              bool // over TLS

	mu    sync.Mutex
	does  map[string]string        // by call: a deed that is not left to chance
	read  map[string]chan struct{} // by call: closed once the caller has read some of the answer
	came  map[string][]arrival     // by call
	wrong []string                 // with requests
}

// arrival is a call that came, and what was done with it.
type arrival struct {
	order int64 // among all of all regions
	deed  string
	class class
}

// saysNothing reports whether the caller has got nothing of what began: a whole answer that breaks
// off, a head alone.
func (a arrival) saysNothing() bool {
	return a.deed == "half a body" || strings.HasPrefix(a.deed, "head, ")
}

// class is what a deed means for the call.
type class int

const (
	refuses class = iota
	serves
	breaks // in mid-answer: whoever began to answer has the call
	denies // refuses in a way that is the administrator's matter: none of chance's
)

// framed reports whether the region streams in AWS's own framing.
func (l *liar) framed() bool { return l.api == "converse" || l.api == "invoke" }

func (l *liar) scheme() string {
	if l.http2 {
		return "https://"
	}
	return "http://"
}

func (l *liar) key() string { return "AKIALIAR" + strings.ToUpper(l.name) }

// arrivals counts those of all regions.
var arrivals atomic.Int64

func (l *liar) begin(t *testing.T) {
	t.Helper()
	l.secret = "secret/of+" + l.name
	l.does, l.read, l.came = map[string]string{}, map[string]chan struct{}{}, map[string][]arrival{}
	l.Server = httptest.NewUnstartedServer(http.HandlerFunc(l.serve))
	l.Config.ErrorLog = log.New(io.Discard, "", 0)
	if l.http2 {
		l.EnableHTTP2 = true
		l.StartTLS()
	} else {
		l.Start()
	}
	t.Cleanup(func() { l.CloseClientConnections(); l.Close() })
}

// providerKey makes the region's.
func (l *liar) providerKey(t *testing.T, g *gateway, of string) string {
	t.Helper()
	secret, err := json.Marshal(map[string]any{"access_key_id": l.key(), "secret_access_key": l.secret, "region": l.region})
	if err != nil {
		t.Fatal(err)
	}
	return g.create(t, "provider_keys", map[string]any{"display_name": of + l.name, "api_base": l.URL, "secret": string(secret)})
}

// target is the region as one of a model's.
func (l *liar) target(providerKey string) map[string]any {
	return map[string]any{"name": l.name, "provider_key_id": providerKey, "model_name": l.model, "api": l.api, "host": l.host}
}

var callID = regexp.MustCompile(`call-\d+-`)

func (l *liar) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	stream, problem := l.check(r, body)
	id := callID.FindString(string(body))
	if problem == "" && id == "" {
		problem = "no call in the body"
	}
	if problem != "" {
		l.mu.Lock()
		l.wrong = append(l.wrong, problem)
		l.mu.Unlock()
		says(403, "InvalidSignatureException")(w, r) // after which no other is asked
		return
	}
	l.mu.Lock()
	name, d := l.choose(id, len(l.came[id]), stream)
	l.came[id] = append(l.came[id], arrival{arrivals.Add(1), name, d.class})
	l.mu.Unlock()
	w.Header().Set("X-Amzn-Requestid", l.name+"-"+id)
	d.do(&incoming{w, r, l, id, stream})
}

// choose is what is done with a call that has come so many times before. The caller holds mu.
func (l *liar) choose(id string, before int, stream bool) (string, deed) {
	if name := l.does[id]; name != "" {
		return name, deeds[name]
	}
	h := fnv.New64a()
	fmt.Fprint(h, l.name, id, before)
	chance := rand.New(rand.NewPCG(l.seed, h.Sum64()))
	if chance.IntN(100) < l.good {
		return "good", deeds["good"]
	}
	var fit []string
	for name, d := range deeds {
		if (d.class == refuses || d.class == breaks) && d.of.has(l, stream) {
			fit = append(fit, name)
		}
	}
	slices.Sort(fit)
	name := fit[chance.IntN(len(fit))]
	return name, deeds[name]
}

// check is what of a request is not as AWS would have it: the signature is judged by AWS's own signer.
func (l *liar) check(r *http.Request, body []byte) (stream bool, problem string) {
	var asked struct {
		Stream bool
		Model  string
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return false, "a body that is no JSON: " + err.Error()
	}
	stream = asked.Stream
	want := l.path
	switch l.api {
	case "converse", "invoke":
		want = "/model/" + strings.ReplaceAll(l.model, ":", "%3A") + "/" + l.api
		if stream = isStream(r); stream {
			want += map[string]string{"converse": "-stream", "invoke": "-with-response-stream"}[l.api]
		}
		if asked.Model != "" || asked.Stream {
			return stream, "model or stream in the body"
		}
	default:
		if asked.Model != l.model {
			return stream, "asked for the model " + asked.Model
		}
	}
	if got := r.URL.EscapedPath(); got != want || r.Method != http.MethodPost || l.URL != l.scheme()+r.Host || (r.ProtoMajor == 2) != l.http2 {
		return stream, fmt.Sprintf("%s %s%s by %s, want %s", r.Method, r.Host, got, r.Proto, want)
	}
	for name, values := range r.Header {
		if strings.HasPrefix(strings.ToLower(name), "x-aisix") || strings.HasPrefix(name, "X-Forwarded") || strings.HasPrefix(name, "X-Envoy") || strings.Contains(strings.Join(values, " "), "sk-") {
			return stream, fmt.Sprintf("the header %s: %q", name, values)
		}
	}
	return stream, l.checkSignature(r, body)
}

var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/,]+)/[^,]+, SignedHeaders=([^,]+), Signature=[0-9a-f]{64}$`)

func (l *liar) checkSignature(r *http.Request, body []byte) string {
	got := r.Header.Get("Authorization")
	m := authorization.FindStringSubmatch(got)
	if m == nil || m[1] != l.key() {
		return "not signed with the region's key: " + got
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if since := time.Since(at); err != nil || since > time.Minute || since < -time.Minute {
		return "signed at " + r.Header.Get("X-Amz-Date")
	}
	hash := fmt.Sprintf("%x", sum(string(body)))
	if claimed := r.Header.Get("X-Amz-Content-Sha256"); claimed != "" && claimed != hash {
		return "another body than was signed"
	}
	again, err := http.NewRequest(r.Method, l.URL+r.URL.EscapedPath(), nil)
	if err != nil {
		return err.Error()
	}
	for _, name := range strings.Split(m[2], ";") {
		if values := r.Header.Values(name); name != "host" && len(values) == 1 {
			again.Header.Set(name, values[0])
		}
	}
	service := map[string]string{"runtime": "bedrock", "mantle": "bedrock-mantle"}[l.host]
	if err := v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: l.key(), SecretAccessKey: l.secret}, again, hash, service, l.region, at); err != nil {
		return err.Error()
	}
	if want := again.Header.Get("Authorization"); got != want {
		return fmt.Sprintf("signed %s, want %s", got, want)
	}
	return ""
}
