package envoy_test

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"aisix/envoy"
	"aisix/envoy/envoytest"

	"go.yaml.in/yaml/v3"
)

// In an Envoy that somebody else runs, each folder's cluster takes the fragment for HTTP/2: hosts that agree
// to it are spoken to so, with the scheme that they have, whatever the callers' connection has.
func TestAttachedHTTP2(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	bundle := write(t, "ca.pem", ca.pem())
	cert, key := ca.issue(t, "localhost")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for folder, o := range envoy.Attachments {
		if envoytest.Version(t) < o.Version {
			t.Logf("%s is not for this Envoy", folder)
			continue
		}
		t.Run(folder, func(t *testing.T) {
			for _, major := range []int{1, 2} {
				u := newUpstream(t, func(h http.Handler) *httptest.Server {
					s := httptest.NewUnstartedServer(h)
					s.EnableHTTP2 = major == 2
					s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
					s.StartTLS()
					return s
				}, func(w http.ResponseWriter, r *http.Request) {
					// Go says that a request came by TLS where its :scheme is https.
					fmt.Fprintf(w, "%s %v", r.Proto, r.TLS != nil)
				})
				_, port, _ := net.SplitHostPort(u.host())
				p := &extProc{buffered: o.BodyMode == envoy.Buffered, decide: func(map[string]string) decision {
					d := forward(u)
					d.set[envoy.EgressHeader], d.set[envoy.HostHeader] = envoy.EgressTLS, "localhost:"+port
					return d
				}}
				root := attached(t, folder)
				resources := root["static_resources"].(map[string]any)
				for _, c := range resources["clusters"].([]any) {
					if c := c.(map[string]any); c["name"] == "bedrock_tls" {
						maps.Copy(c, load(t, filepath.Join("..", "deploy", "attach", "http2", "bedrock_tls.yaml")))
					}
				}
				manager := first(first(first(resources["listeners"])["filter_chains"])["filters"])["typed_config"].(map[string]any)
				maps.Copy(manager, load(t, filepath.Join("..", "deploy", "attach", "http2", "connection_manager.yaml")))
				b, err := yaml.Marshal(root)
				if err != nil {
					t.Fatal(err)
				}
				if err := yaml.Unmarshal([]byte(strings.ReplaceAll(string(b), envoy.DefaultCAFile, bundle)), &root); err != nil {
					t.Fatal(err)
				}
				address := envoytest.Start(t, places(t, root, p.serve(t, "unix", socket(t)), u.host())).Address(t, "ingress")
				a := post(t, address, strings.Repeat("x", 300<<10), "Host", domain)
				want := "HTTP/1.1 true"
				if major == 2 {
					want = "HTTP/2.0 true"
				}
				if a.status != 200 || a.body != want {
					t.Errorf("%d %s, want %s", a.status, a.body, want)
				}
				u.mu.Lock()
				if len(u.seen) != 1 || u.size[0] != 300<<10 || u.seen[0].ContentLength != 300<<10 || u.seen[0].Host != "localhost:"+port || u.seen[0].Header.Get(envoy.HostHeader) != "" {
					t.Errorf("the upstream got %v of %+v", u.size, u.seen)
				}
				u.mu.Unlock()
			}
		})
	}
}
