package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aisix/cmd/internal/certtest"
	"aisix/cmd/internal/stack"
)

// lameDuck is longer than Envoy takes to find out: it asks every 2 s.
const lameDuck = "3s"

// held is an upstream whose streams wait to be released, all at once; other calls are answered.
func held(t *testing.T) (u *upstream, release func()) {
	t.Helper()
	word := make(chan struct{})
	u = newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if !isStream(r) {
			whole(w, "Hello.")
			return
		}
		streaming(w)
		emit(w, "messageStart", `{"role":"assistant"}`)
		emit(w, "contentBlockDelta", delta("Once upon"))
		select {
		case <-word:
			finish(w)
		case <-r.Context().Done():
		}
	})
	return u, sync.OnceFunc(func() { close(word) })
}

// streams are open ones, begun.
func (c *tenant) streams(t *testing.T, n int) []*events {
	t.Helper()
	all := make([]*events, n)
	for i := range all {
		all[i] = c.stream(t, t.Context(), "A story")
		if _, err := all[i].next(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// whole fails for each of the streams that does not end as it should.
func (c *tenant) whole(t *testing.T, all []*events) {
	t.Helper()
	cut := 0
	for _, e := range all {
		if rest, err := e.rest(); err != io.EOF || len(rest) == 0 || rest[len(rest)-1] != "[DONE]" {
			cut++
			t.Logf("cut: %q, %v", rest, err)
		}
	}
	if cut > 0 {
		t.Errorf("%d of %d streams were cut", cut, len(all))
	}
}

// logged waits for a word in a process's log.
func logged(t *testing.T, log func() []byte, word string) {
	t.Helper()
	eventually(t, patience, func() error {
		if !bytes.Contains(log(), []byte(word)) {
			return fmt.Errorf("no %q in the log", word)
		}
		return nil
	})
}

// inFlight waits until an extproc has so many calls, at least.
func (g *gateway) inFlight(t *testing.T, least float64) {
	t.Helper()
	eventually(t, patience, func() error {
		if n := g.scrape(t)["aisix_calls_in_flight"]; n < least {
			return fmt.Errorf("%v calls in flight, want %v", n, least)
		}
		return nil
	})
}

// pair is a gateway with two extprocs; the second is in a gateway of its own, without the other parts.
func pair(t *testing.T) (g, second *gateway, another func(address string) *gateway) {
	t.Helper()
	one, two := "unix:"+filepath.Join(bin, fmt.Sprintf("s%d", sockets.Add(1))), "unix:"+filepath.Join(bin, fmt.Sprintf("s%d", sockets.Add(1)))
	both := []string{"AISIX_EXTPROC__ADDRESSES=" + one + "," + two, "AISIX_EXTPROC__LAME_DUCK=" + lameDuck}
	g = start(t, options{env: append(both, "AISIX_EXTPROC__ADDRESS="+one)})
	another = func(address string) *gateway {
		return start(t, options{parts: []string{stack.Extproc}, redis: g.Config.Redis.URL, key: g.Config.Secrets.MasterKeyFile,
			env: append(both, "AISIX_EXTPROC__ADDRESS="+address)})
	}
	return g, another(two), another
}

// Two extprocs are updated one after the other, while streams run and new calls arrive: none is refused,
// none is cut, and the gateway is ready all the time.
func TestUpdateOfTwoExtprocs(t *testing.T) {
	t.Parallel()
	g, second, another := pair(t)
	u, release := held(t)
	c := g.tenant(t, u.URL, settings{})
	eventually(t, patience, func() error { // Envoy has found out about the second
		c.served(t)
		if second.scrape(t)[`aisix_requests_total{model="`+c.alias+`",outcome="succeeded",provider="amazon-bedrock",status="200"}`] == 0 {
			return fmt.Errorf("the second extproc gets no calls")
		}
		return nil
	})
	open := c.streams(t, 12)
	g.inFlight(t, 1)
	second.inFlight(t, 1)
	all := c.call(t, 4)
	all.more(t, 20, "200")
	for _, old := range []*gateway{g, second} {
		old.Extproc.Signal(syscall.SIGTERM)
		logged(t, old.Extproc.Log, "not ready, but new calls are served")
		all.more(t, 20, "200")
		logged(t, old.Extproc.Log, "calls in flight end first")
		all.more(t, 50, "200")
		next := another(old.Config.Extproc.Address)
		all.more(t, 20, "200")
		eventually(t, patience, func() error {
			if next.scrape(t)[`aisix_requests_total{model="`+c.alias+`",outcome="succeeded",provider="amazon-bedrock",status="200"}`] == 0 {
				return fmt.Errorf("the next extproc gets no calls")
			}
			return nil
		})
		if !old.Extproc.Running() {
			t.Error("the old extproc ended with streams open")
		}
		if a, err := do(t.Context(), http.MethodGet, g.proxy+"/readyz", "", ""); err != nil || a.status != http.StatusOK {
			t.Errorf("not ready while one of two is replaced: %d %s, %v", a.status, a.body, err)
		}
	}
	all.only(t, "200")
	t.Logf("%d calls were answered meanwhile", all.count("200"))
	release()
	c.whole(t, open)
	for _, old := range []*gateway{g, second} {
		select {
		case <-old.Extproc.Exited():
		case <-time.After(patience):
			t.Error("the old extproc still runs")
		}
	}
}

// One of two is killed: those calls that it had are lost, and no others.
func TestOneOfTwoExtprocsKilled(t *testing.T) {
	t.Parallel()
	g, second, _ := pair(t)
	c := g.tenant(t, newUpstream(t, nil).URL, settings{})
	all := c.call(t, 4)
	all.more(t, 20, "200")
	for range 2 {
		second.Extproc.Kill()
		all.more(t, 100, "200")
		if err := second.Extproc.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		all.more(t, 20, "200")
	}
	all.only(t, "200", "500 internal_error", "503 gateway_unavailable", "broken")
	if lost := len(all.answers) - 1; lost > 0 {
		t.Logf("lost: %v", all.answers)
	}
	if lost := all.count("500 internal_error") + all.count("503 gateway_unavailable") + all.count("broken"); lost > 2*4 {
		t.Errorf("%v: more than the 4 in flight at each time were lost", all.answers)
	}
}

// The one extproc is updated: the next process takes over its socket, its port for metrics and its
// spool while it is a lame duck, and it ends with its streams. Nothing is refused or cut.
func TestUpdateOfOneExtproc(t *testing.T) {
	t.Parallel()
	g := start(t, options{env: []string{"AISIX_EXTPROC__LAME_DUCK=1m"}})
	u, release := held(t)
	c := g.tenant(t, u.URL, settings{})
	open := c.streams(t, 5)
	all := c.call(t, 4)
	all.more(t, 20, "200")
	g.Extproc.Signal(syscall.SIGTERM)
	logged(t, g.Extproc.Log, "not ready, but new calls are served")
	all.more(t, 20, "200")

	var log lockedBuffer
	next := exec.Command(filepath.Join(bin, stack.Extproc))
	next.Stderr, next.Env = &log, []string{
		"AISIX_EXTPROC__ADDRESS=" + g.Config.Extproc.Address, "AISIX_METRICS__ADDRESS=" + g.Config.Metrics.Address, "AISIX_EXTPROC__LAME_DUCK=0s",
		"AISIX_REDIS__URL=" + g.Config.Redis.URL, "AISIX_SECRETS__MASTER_KEY_FILE=" + g.Config.Secrets.MasterKeyFile,
		"AISIX_USAGE__SPOOL_DIR=" + g.Config.Usage.SpoolDir, "HOME=" + g.Dir,
	}
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		next.Process.Signal(syscall.SIGTERM)
		next.Wait()
		if t.Failed() || strings.Contains(log.String(), "DATA RACE") {
			t.Errorf("the next extproc:\n%s", log.String())
		}
	})
	logged(t, log.Bytes, "extproc is up")
	logged(t, g.Extproc.Log, "calls in flight end first") // long before its minute is over
	all.more(t, 50, "200")
	if n := g.scrape(t)[`aisix_requests_total{model="`+c.alias+`",outcome="succeeded",provider="amazon-bedrock",status="200"}`]; n == 0 {
		t.Error("the next extproc gets no calls")
	}
	all.only(t, "200")
	t.Logf("%d calls were answered meanwhile", all.count("200"))
	release()
	c.whole(t, open)
	select {
	case <-g.Extproc.Exited():
	case <-time.After(patience):
		t.Error("the old extproc still runs")
	}
	g.accounted(t, c, all.count("200")+len(open))
}

// lockedBuffer is a process's output, read while it runs.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Bytes is what was written so far.
func (l *lockedBuffer) Bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

func (l *lockedBuffer) String() string { return string(l.Bytes()) }

// Over a network Envoy and extproc know each other by certificate; a name may stand for many extprocs.
func TestExtprocByMutualTLS(t *testing.T) {
	t.Parallel()
	address, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(address)
	cert, key := certtest.New(t)
	g := start(t, options{env: []string{
		"AISIX_EXTPROC__ADDRESS=" + address, "AISIX_EXTPROC__TLS_CERT_FILE=" + cert, "AISIX_EXTPROC__TLS_KEY_FILE=" + key, "AISIX_EXTPROC__CLIENT_CA_FILE=" + cert,
		"AISIX_EXTPROC__ADDRESSES=localhost:" + port,
		"AISIX_PROXY__EXTPROC_CA_FILE=" + cert, "AISIX_PROXY__EXTPROC_CERT_FILE=" + cert, "AISIX_PROXY__EXTPROC_KEY_FILE=" + key,
	}})
	g.tenant(t, newUpstream(t, nil).URL, settings{}).served(t)
}
