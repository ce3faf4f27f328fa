package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aisix/cmd/internal/stack"
)

// adminRaw sends the bytes of one request to the Admin API, with the admin key as it is known to
// everybody, and reads its answer; from is the address to send it from, "" for any.
func (g *gateway) adminRaw(t *testing.T, from, head string) (answer, error) {
	t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp", strings.TrimPrefix(g.admin, "http://"))
	if err != nil {
		return answer{}, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(c, head+"\r\nConnection: close\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, string(body)}, err
}

// Whatever a page in a browser can make it send, a request in the name of a stranger gets nothing,
// with the right key neither, and no answer is for such a page to read.
func TestTheAdminAPIRefusesStrangers(t *testing.T) {
	t.Parallel()
	g := shared(t)
	const key = "\r\nAuthorization: Bearer " + adminKey
	own := strings.TrimPrefix(g.admin, "http://")
	_, port, _ := net.SplitHostPort(own)
	for head, want := range map[string]int{
		"GET /admin/v1/models HTTP/1.1\r\nHost: " + own + key:                                        200,
		"GET /admin/v1/models HTTP/1.1\r\nHost: LOCALHOST.:" + port + key:                            200,
		"GET /admin/v1/models HTTP/1.1\r\nHost: [::1]" + key:                                         200,
		"GET http://" + own + "/admin/v1/models HTTP/1.1\r\nHost: rebound.example" + key:             200, // the target wins (RFC 9112, 3.2.2)
		"GET /admin/v1/models HTTP/1.1\r\nHost: " + own + "\r\nOrigin: http://" + own + key:          200,
		"GET /admin/v1/models HTTP/1.1\r\nHost: rebound.example:" + port + key:                       403,
		"GET /admin/v1/models HTTP/1.1\r\nHost: 127.0.0.1.rebound.example" + key:                     403,
		"GET /admin/v1/models HTTP/1.1\r\nHost: 0.0.0.0:" + port + key:                               403,
		"GET http://rebound.example/admin/v1/models HTTP/1.1\r\nHost: " + own + key:                  403,
		"GET /admin/v1/models HTTP/1.0" + key:                                                        403,
		"GET /admin/v1/models HTTP/1.1\r\nHost:" + key:                                               403,
		"GET /admin/v1/models HTTP/1.1\r\nHost: rebound.example\r\nX-Forwarded-Host: " + own + key:   403,
		"GET /admin/v1/models HTTP/1.1\r\nHost: " + own + "\r\nOrigin: http://rebound.example" + key: 403,
		"GET /admin/v1/models HTTP/1.1\r\nHost: " + own + "\r\nOrigin: null" + key:                   403,
		"GET /admin/v1/models HTTP/1.1\r\nHost: " + own + "\r\nSec-Fetch-Site: cross-site" + key:     403,
		"GET /admin/v1/models HTTP/1.1\r\nHost: " + own + "\r\nX-Forwarded-For: 203.0.113.7" + key:   403,
		"GET /admin/openapi.json HTTP/1.1\r\nHost: rebound.example":                                  403,
		"GET /unheard HTTP/1.1\r\nHost: rebound.example":                                             403,
		"OPTIONS /admin/v1/models HTTP/1.1\r\nHost: " + own + "\r\nOrigin: http://rebound.example\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization": 403,
		"OPTIONS /admin/v1/models HTTP/1.1\r\nHost: " + own + "\r\nOrigin: http://localhost\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization":       401,
		"GET /admin/v1/models HTTP/1.1\r\nHost: " + own + "\r\nHost: rebound.example" + key:                                                                                                400, // Go's own
		"GET /admin/v1/models HTTP/1.1" + key:           400,
		"GET /readyz HTTP/1.1\r\nHost: 10.244.1.7:3001": 200, // as a kubelet asks
		"GET /livez HTTP/1.0":                           200,
	} {
		a, err := g.adminRaw(t, "", head)
		if err != nil || a.status != want {
			t.Errorf("%q: %d %s, want %d, %v", head, a.status, a.body, want, err)
		}
		if a.status == 403 && (!strings.HasPrefix(a.body, `{"error_msg":"`) || strings.Contains(a.body, "rebound")) {
			t.Errorf("%q: %s", head, a.body)
		}
		for name := range a.header {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%q: %s is granted", head, name)
			}
		}
	}
}

// As compose runs it: on every interface of a container, published on loopback. The sample key works
// by loopback names, and by no other that is allowed.
func TestTheSampleKeyOnEveryInterface(t *testing.T) {
	t.Parallel()
	address, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(address)
	g := start(t, options{parts: []string{stack.Valkey, stack.Admin}, env: []string{
		"AISIX_ADMIN__ADDRESS=0.0.0.0:" + port, "AISIX_ADMIN__ALLOW_SAMPLE_KEY=true", "AISIX_ADMIN__ALLOWED_HOSTS=admin"}})
	g.create(t, "apikeys", map[string]any{"allowed_models": []string{}})
	const key = "\r\nAuthorization: Bearer " + adminKey
	for host, want := range map[string]struct {
		status int
		code   string
	}{
		"localhost:3001": {200, ""}, "127.0.0.1:3001": {200, ""}, // as published
		"admin:3001": {403, "sample_key"}, "rebound.example": {403, "host_not_allowed"}, "0.0.0.0:3001": {403, "host_not_allowed"},
	} {
		a, err := g.adminRaw(t, "", "GET /admin/v1/apikeys HTTP/1.1\r\nHost: "+host+key)
		if err != nil || a.status != want.status || !strings.Contains(a.body, want.code) {
			t.Errorf("Host %s: %d %s, want %v, %v", host, a.status, a.body, want, err)
		}
	}
	if log := string(g.Admin.Log()); !strings.Contains(log, "the sample admin key is in use") {
		t.Errorf("no warning of the sample key:\n%s", log)
	}
}

// Wrong keys wait, right ones pass them, also those of the same address.
func TestRightAdminKeysDoNotWaitForWrongOnes(t *testing.T) {
	t.Parallel()
	g := shared(t)
	const from, wrongs = "127.0.0.9", 5
	head := "GET /admin/v1/health HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
	answered := make(chan int, wrongs)
	for range wrongs {
		go func() {
			a, err := g.adminRaw(t, from, head+"wrong-wrong-wrong-wrong")
			if err != nil {
				t.Error(err)
			}
			answered <- a.status
		}()
	}
	if first := <-answered; first != http.StatusUnauthorized { // so that the others are on their way
		t.Errorf("a wrong key: %d", first)
	}
	for range 3 {
		if a, err := g.adminRaw(t, from, head+adminKey); err != nil || a.status != http.StatusOK {
			t.Errorf("the right key: %d %s, %v", a.status, a.body, err)
		}
	}
	if len(answered) == wrongs-1 {
		t.Error("all wrong keys were answered before three right ones")
	}
	for range wrongs - 1 {
		if status := <-answered; status != http.StatusUnauthorized {
			t.Errorf("a wrong key: %d", status)
		}
	}
}

// No form of a metadata service's address is stored as an upstream.
func TestNoAPIBaseLeadsToAMetadataService(t *testing.T) {
	t.Parallel()
	g := shared(t)
	for _, host := range []string{
		"169.254.169.254", "169.254.170.2", "[fd00:ec2::254]", "[fd00:ec2::23]", "168.63.129.16", "100.100.100.200", "192.0.0.192", "[fd20:ce::254]",
		"2852039166", "0x64.0x64.0x64.0xc8", "0250.077.0201.020", "192.192", "168.63.129.16.", "METADATA.google.internal.",
		"[::ffff:168.63.129.16]", "[::100.100.100.200]", "[64:ff9b::6464:64c8]", "[64:ff9b:1::a9fe:a9fe]", "[2002:a83f:8110::1]", "[2001:0:a9fe:a9fe::1]",
		"0.0.0.0", "[::]", "224.0.0.1", "255.255.255.255", "7147006462", "169。254。169。254",
	} {
		name := "metadata at " + host
		a, err := g.manage(t.Context(), http.MethodPost, "/admin/v1/provider_keys", map[string]any{"display_name": name, "api_base": "http://" + host,
			"secret": `{"access_key_id":"A","secret_access_key":"B","region":"us-west-2"}`})
		if err != nil || a.status != http.StatusBadRequest || !strings.Contains(a.body, `"pointer":"/api_base"`) || strings.Contains(a.body, host) {
			t.Errorf("%s: %d %s, %v", host, a.status, a.body, err)
		}
		if list, err := g.manage(t.Context(), http.MethodGet, "/admin/v1/provider_keys", nil); err != nil || strings.Contains(list.body, name) {
			t.Errorf("%s is stored: %v", host, err)
		}
	}
}

// A start that would give secrets away ends, and says what to do.
func TestAStartThatIsNotSafeEnds(t *testing.T) {
	t.Parallel()
	open := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(open, []byte(base64.StdEncoding.EncodeToString(make([]byte, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ part, env, want string }{
		{stack.Admin, "AISIX_SECRETS__MASTER_KEY_FILE=" + open, "chmod 600"},
		{stack.Extproc, "AISIX_SECRETS__MASTER_KEY_FILE=" + open, "chmod 600"},
		{stack.Admin, "AISIX_SECRETS__PREVIOUS_MASTER_KEY_FILE=" + open, "chmod 600"},
		{stack.Admin, "AISIX_ADMIN__KEY=fifteen-letters", "admin.key: must have at least 16 characters: make one with `openssl rand -base64 32`"},
		{stack.Admin, "AISIX_ADMIN__ADDRESS=0.0.0.0:0", "admin.key: is the sample key"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		process := exec.CommandContext(ctx, filepath.Join(bin, x.part))
		process.Env = []string{"AISIX_ADMIN__KEY=" + adminKey, "AISIX_ADMIN__ADDRESS=127.0.0.1:0", "AISIX_REDIS__URL=redis://127.0.0.1:1", x.env}
		if !strings.Contains(x.env, "SECRETS__MASTER_KEY") {
			process.Env = append(process.Env, "AISIX_SECRETS__MASTER_KEY="+strings.Repeat("0f", 32))
		}
		out, err := process.CombinedOutput()
		if process.ProcessState == nil || process.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), x.want) || strings.Contains(string(out), "fifteen") {
			t.Errorf("%s with %s: %v\n%s", x.part, x.env, err, out)
		}
	}
}
