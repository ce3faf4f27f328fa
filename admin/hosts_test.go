package admin

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// door is an Admin API without a store: what is let in finds no such path.
func door(t *testing.T, o Options) *Server {
	t.Helper()
	o.Key, o.Log = adminKey, slog.New(slog.DiscardHandler)
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// knock asks with the admin key, by a Host and with further headers; to is the
// address that it came in by.
func knock(s *Server, to, path, host string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "http://placeholder"+path, nil)
	r.Host, r.RemoteAddr = host, "127.0.0.1:40000"
	r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.ParseIP(to), Port: 3001})))
	r.Header.Set("Authorization", "Bearer "+adminKey)
	for _, h := range header {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestStrangersAreRefused(t *testing.T) {
	const letIn = http.StatusNotFound
	for name, x := range map[string]struct {
		address string
		allowed []string
		to      string // "127.0.0.1" unless said
		known   []string
		strange []string
	}{
		"on loopback": {address: "127.0.0.1:3001",
			known: []string{"localhost", "localhost:3001", "LocalHost.:80", "127.0.0.1", "127.0.0.1:3001", "127.0.0.1:9", "127.9.9.9:3001", "[::1]", "[::1]:3001", "[0:0:0:0:0:0:0:1]:3001", "[::ffff:127.0.0.1]:3001", "localhost:"},
			strange: []string{"", ":3001", "rebound.example", "rebound.example:3001", "localhost.rebound.example", "127.0.0.1.rebound.example:3001", "rebound.localhost", "10.0.0.5:3001", "0.0.0.0:3001", "[::]:3001",
				"localhost:x", "localhost:99999", "localhost:1:2", "user@localhost", "localhost,rebound.example", "localhost/", "127.0.0.1 ", "2130706433", "127.1", "metadata", "*", ".", "localhost.."}},
		"on one address": {address: "10.0.0.5:3001", to: "10.0.0.5",
			known: []string{"10.0.0.5", "10.0.0.5:3001", "127.0.0.1:3001", "localhost"}, strange: []string{"10.0.0.6:3001", "rebound.example"}},
		"by a name":           {address: "Admin.internal:3001", to: "10.0.0.5", known: []string{"admin.internal:3001", "ADMIN.INTERNAL.", "10.0.0.5:3001"}, strange: []string{"internal", "x.admin.internal"}},
		"everywhere":          {address: "0.0.0.0:3001", to: "172.18.0.3", known: []string{"172.18.0.3:3001", "127.0.0.1:3001"}, strange: []string{"0.0.0.0:3001", "admin:3001", "10.0.0.5:3001"}},
		"everywhere, in IPv6": {address: "[::]:3001", to: "fd00::7", known: []string{"[fd00::7]:3001", "[fd00:0::7]"}, strange: []string{"[::]:3001", "[fd00::8]:3001"}},
		"without an address":  {address: ":3001", to: "172.18.0.3", known: []string{"172.18.0.3"}, strange: []string{":3001", "admin"}},
		"with others": {address: "0.0.0.0:3001", allowed: []string{"admin", "Console.example.com.", "10.0.0.5", "[fd00::1]"}, to: "172.18.0.3",
			known: []string{"admin:3001", "Admin", "console.example.com", "10.0.0.5:8443", "[fd00:0:0::1]:3001"}, strange: []string{"example.com", "x.console.example.com", "10.0.0.50"}},
		"with any": {address: "0.0.0.0:3001", allowed: []string{"*"}, to: "172.18.0.3", known: []string{"rebound.example", "10.9.9.9:1", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			if x.to == "" {
				x.to = "127.0.0.1"
			}
			s := door(t, Options{Address: x.address, AllowedHosts: x.allowed})
			own := x.known[0]
			for _, host := range x.known {
				if w := knock(s, x.to, "/admin/v1/unheard", host); w.Code != letIn {
					t.Errorf("Host %q: %d %s", host, w.Code, w.Body)
				}
				if name, ok := hostOf(host); ok {
					if strings.Contains(name, ":") {
						name = "[" + name + "]"
					}
					if w := knock(s, x.to, "/admin/v1/unheard", own, "Origin: https://"+name+":8443"); w.Code != letIn {
						t.Errorf("Origin of %q: %d %s", host, w.Code, w.Body)
					}
				}
			}
			for _, host := range x.strange {
				for _, path := range []string{"/admin/v1/unheard", "/admin/v1/models", "/admin/openapi.json", "/"} {
					w := knock(s, x.to, path, host)
					valid(t, "#/components/schemas/Problem", w.Body.String())
					if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "admin.allowed_hosts") || strings.Contains(w.Body.String(), "rebound") {
						t.Errorf("%s, Host %q: %d %s", path, host, w.Code, w.Body)
					}
				}
				if w := knock(s, x.to, "/livez", host); w.Code != http.StatusOK {
					t.Errorf("a probe by Host %q: %d %s", host, w.Code, w.Body)
				}
			}
		})
	}
}

func TestPagesOfStrangersAreRefused(t *testing.T) {
	s := door(t, Options{Address: "127.0.0.1:3001", AllowedHosts: []string{"console.example.com"}})
	for header, want := range map[string]int{
		"Origin: http://localhost:3001":               http.StatusNotFound,
		"Origin: https://console.example.com":         http.StatusNotFound,
		"Origin: null":                                http.StatusForbidden,
		"Origin: ":                                    http.StatusForbidden,
		"Origin: *":                                   http.StatusForbidden,
		"Origin: localhost":                           http.StatusForbidden,
		"Origin: https://rebound.example":             http.StatusForbidden,
		"Origin: https://localhost.rebound.example":   http.StatusForbidden,
		"Origin: https://console.example.com.rebound": http.StatusForbidden,
		"Origin: https://localhost@rebound.example":   http.StatusForbidden,
		"Origin: https://user@localhost":              http.StatusForbidden,
		"Origin: file://localhost":                    http.StatusForbidden,
		"Origin: http://localhost http://rebound":     http.StatusForbidden,
		"Origin: chrome-extension://abcdefghijklmnop": http.StatusForbidden,
		"Sec-Fetch-Site: cross-site":                  http.StatusForbidden,
		"Sec-Fetch-Site: same-origin":                 http.StatusNotFound,
		"Sec-Fetch-Site: none":                        http.StatusNotFound,
	} {
		w := knock(s, "127.0.0.1", "/admin/v1/unheard", "localhost:3001", header)
		if w.Code != want {
			t.Errorf("%s: %d %s", header, w.Code, w.Body)
		}
		if w.Code == http.StatusForbidden && !strings.Contains(w.Body.String(), `"origin_not_allowed"`) {
			t.Errorf("%s: %s", header, w.Body)
		}
		for name := range w.Header() {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s: %s is granted", header, name)
			}
		}
	}
	two := knock(s, "127.0.0.1", "/admin/v1/unheard", "localhost", "Origin: http://localhost", "Origin: https://rebound.example")
	if two.Code != http.StatusForbidden {
		t.Errorf("one known Origin and one strange: %d", two.Code)
	}
	if link := knock(s, "127.0.0.1", "/admin/v1/unheard", "localhost", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"); link.Code != http.StatusNotFound {
		t.Errorf("a link from elsewhere: %d %s", link.Code, link.Body)
	}
}

// The key that everybody knows opens nothing by any other name than this machine's,
// nor for whom a proxy lets in.
func TestTheSampleKeyIsForThisMachine(t *testing.T) {
	s := door(t, Options{Address: "0.0.0.0:3001", AllowedHosts: []string{"*"}, SampleKey: true})
	for _, host := range []string{"localhost:3001", "127.0.0.1:3001", "[::1]:3001"} {
		if w := knock(s, "172.18.0.3", "/admin/v1/unheard", host); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", host, w.Code, w.Body)
		}
	}
	refused := func(what string, w *httptest.ResponseRecorder) {
		t.Helper()
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), `"sample_key"`) {
			t.Errorf("%s: %d %s", what, w.Code, w.Body)
		}
	}
	for _, host := range []string{"rebound.example", "admin:3001", "172.18.0.3:3001", "0.0.0.0:3001"} {
		refused(host, knock(s, "172.18.0.3", "/admin/v1/unheard", host))
	}
	for _, header := range []string{"X-Forwarded-For: 203.0.113.7", "Forwarded: for=203.0.113.7", "X-Real-IP: 203.0.113.7", "X-Forwarded-Host: admin.example.com"} {
		refused(header, knock(s, "172.18.0.3", "/admin/v1/unheard", "localhost", header))
	}
	for from, want := range map[string]int{"127.0.0.1:1": 404, "[::1]:1": 404, "172.18.0.1:1": 404, "[fd00::1]:1": 404, "[::ffff:10.0.0.1]:1": 404, "203.0.113.7:1": 403, "[2001:db8::1]:1": 403, "[::ffff:8.8.8.8]:1": 403} {
		r := httptest.NewRequest("GET", "http://localhost/admin/v1/unheard", nil)
		r.RemoteAddr = from
		r.Header.Set("X-Api-Key", adminKey)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("from %s: %d %s", from, w.Code, w.Body)
		}
	}
}
