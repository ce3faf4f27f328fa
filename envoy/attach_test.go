package envoy_test

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"aisix/envoy"
	"aisix/envoy/envoytest"

	"go.yaml.in/yaml/v3"
)

const domain = envoy.Domain

func TestZeroOptionsAttachNothing(t *testing.T) {
	if files, err := envoy.Attachment(envoy.Options{}, domain); err == nil || files != nil {
		t.Errorf("the zero Options: %v, %v", files, err)
	}
	for name, make := range map[string]func(envoy.Options, string, envoy.IstioProxy) ([]byte, error){
		"EnvoyFilter": envoy.EnvoyFilter, "EnvoyFilterBrowsers": envoy.EnvoyFilterBrowsers, "EnvoyFilterExtProc": envoy.EnvoyFilterExtProc,
	} {
		if b, err := make(envoy.Options{}, domain, envoy.IstioProxy{}); err == nil || b != nil {
			t.Errorf("%s of the zero Options: %s, %v", name, b, err)
		}
	}
	for _, o := range []envoy.Options{{}, envoy.Defaults()} { // which have no egress
		if b, err := envoy.EnvoyFilterEgress(o, envoy.IstioProxy{}); err == nil || b != nil {
			t.Errorf("EnvoyFilterEgress without one: %s, %v", b, err)
		}
		if b, err := envoy.EnvoyPatchPolicyEgress(o); err == nil || b != nil {
			t.Errorf("EnvoyPatchPolicyEgress without one: %s, %v", b, err)
		}
	}
}

// An Envoy with routes, filters and error pages of its own, and the fragments
// added as docs/attach.md says, as they stand but for the place of extproc's socket.
func TestAttached(t *testing.T) {
	t.Parallel()
	for folder, o := range envoy.Attachments {
		if envoytest.Version(t) < o.Version {
			t.Logf("%s is not for this Envoy", folder)
			continue
		}
		t.Run(folder, func(t *testing.T) {
			shop := newUpstream(t, httptest.NewServer, ok)
			bedrock := newUpstream(t, httptest.NewServer, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("x-amzn-requestid", "r")
				fmt.Fprint(w, "from Bedrock")
			})
			// *.localhost is this machine to Envoy's resolver; bedrock.localhost is a domain
			// of their shop's, too.
			_, port, _ := net.SplitHostPort(bedrock.host())
			endpoint := "bedrock.localhost:" + port
			p := &extProc{buffered: o.BodyMode == envoy.Buffered, decide: func(h map[string]string) decision {
				if host := h["x-host"]; host != "" {
					return forward(bedrock, envoy.HostHeader, host)
				}
				if h["x-test"] == "fail" {
					return decision{fail: true}
				}
				return decision{reject: immediate(401, "application/json", `{"error":"ours"}`)}
			}}
			address := envoytest.Start(t, attach(t, folder, p.serve(t, "unix", socket(t)), shop.host())).Address(t, "ingress")

			if a := post(t, address, `{}`, "Host", "shop.example.com", "x-amz-date", "theirs"); a.status != 200 || a.body != "fine" {
				t.Errorf("their own traffic: %d %s", a.status, a.body)
			}
			if r := shop.requests(); len(r) != 1 || r[0].Header.Get("x-amz-date") != "theirs" {
				t.Errorf("their own traffic has changed: %v", r)
			}
			if n := len(p.requests()); n != 0 {
				t.Errorf("extproc was asked about their own traffic %d times", n)
			}
			if a := post(t, address, `{}`, "Host", "elsewhere.example.com"); a.status != 421 || a.body != "sorry: 421" {
				t.Errorf("their own error page: %d %s", a.status, a.body)
			}

			large := strings.Repeat("x", 3<<20)
			for i, host := range []string{bedrock.host(), endpoint, "localhost:" + port} {
				if a := post(t, address, large, "Host", domain, "x-host", host); a.status != 200 || a.body != "from Bedrock" {
					t.Errorf("to %s: %d %s", host, a.status, a.body)
				}
				bedrock.mu.Lock()
				if len(bedrock.size) != i+1 || bedrock.size[i] != int64(len(large)) || bedrock.seen[i].Host != host {
					t.Errorf("Bedrock got bodies of %v: %+v", bedrock.size, bedrock.seen)
				}
				for name := range bedrock.seen[i].Header {
					if strings.HasPrefix(name, "X-Aisix") || strings.HasPrefix(name, "X-Envoy") {
						t.Errorf("%s went to Bedrock", name)
					}
				}
				bedrock.mu.Unlock()
			}
			for _, a := range []answer{post(t, address, `{}`, "Host", domain), raw(t, address, "GET /livez HTTP/1.1\r\nHost: "+domain+"\r\n\r\n")} {
				if a.status != 401 || a.body != `{"error":"ours"}` {
					t.Errorf("an answer of extproc's: %d %s", a.status, a.body)
				}
			}
			for _, host := range []string{"bedrock.localhost:1", "no-such-host.invalid", "not a host"} {
				wantShape(t, post(t, address, `{}`, "Host", domain, "x-host", host), 502, "transport_error")
			}
			wantShape(t, post(t, address, `{}`, "Host", domain, "x-test", "fail"), 503, "gateway_unavailable")

			// Nobody but extproc opens the way out.
			before := len(bedrock.requests())
			for _, host := range []string{domain, bedrock.host(), "bedrock-runtime.us-west-2.amazonaws.com", "shop.example.com"} {
				if a := post(t, address, `{}`, "Host", host, "x-aisix-egress", "plaintext", "x-aisix-host", bedrock.host()); a.status == 200 && host != "shop.example.com" {
					t.Errorf("%s: %d %s", host, a.status, a.body)
				}
			}
			if n := len(bedrock.requests()) - before; n != 0 {
				t.Errorf("callers sent %d requests to Bedrock", n)
			}
			// Of all these only their own two went to their application, and without our headers.
			if r := shop.requests(); len(r) != 2 || r[1].Header.Get(envoy.HostHeader)+r[1].Header.Get(envoy.EgressHeader) != "" {
				t.Errorf("their application got %d requests: %+v", len(r), r)
			}
		})
	}
}

// Their own ext_proc filter, in the same chain, off in our virtual hosts as the
// page says. (Two that are on don't go together: requests stall and answers are cut
// short, cleanly, now and then.)
func TestBesideAnotherProcessor(t *testing.T) {
	t.Parallel()
	if envoytest.Version(t) < 39 {
		t.Skip("the fragments are for newer Envoys")
	}
	const size = 1 << 20
	for name, place := range map[string]int{"theirs first": 1, "ours first": 2} {
		t.Run(name, func(t *testing.T) {
			shop := newUpstream(t, httptest.NewServer, ok)
			bedrock := newUpstream(t, httptest.NewServer, func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, strings.Repeat("y", size))
			})
			_, port, _ := net.SplitHostPort(bedrock.host())
			ours := &extProc{decide: func(map[string]string) decision {
				return forward(bedrock, envoy.HostHeader, "bedrock.localhost:"+port)
			}}
			theirs := &extProc{decide: func(map[string]string) decision { return decision{} }}
			theirSocket := theirs.serve(t, "unix", socket(t))

			root := attached(t, "envoy-1.39")
			resources := root["static_resources"].(map[string]any)
			manager := first(first(first(resources["listeners"])["filter_chains"])["filters"])["typed_config"].(map[string]any)
			filters := manager["http_filters"].([]any)
			second := rename(t, filters[1], "name: aisix.ext_proc", "name: theirs", "cluster_name: extproc", "cluster_name: theirs", "disabled: true", "disabled: false")
			manager["http_filters"] = slices.Insert(slices.Clone(filters), place, second)
			for _, v := range manager["route_config"].(map[string]any)["virtual_hosts"].([]any) {
				if v := v.(map[string]any); strings.HasPrefix(v["name"].(string), "aisix") {
					v["typed_per_filter_config"] = map[string]any{"theirs": map[string]any{
						"@type":    "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute",
						"disabled": true,
					}}
				}
			}
			clusters := resources["clusters"].([]any)
			resources["clusters"] = append(clusters, rename(t, clusters[1], "name: extproc", "name: theirs", "path: "+shippedSocket, "path: "+strings.TrimPrefix(theirSocket, "unix:")))
			address := envoytest.Start(t, places(t, root, ours.serve(t, "unix", socket(t)), shop.host())).Address(t, "ingress")

			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					if a := post(t, address, strings.Repeat("x", size), "Host", domain); a.status != 200 || len(a.body) != size {
						t.Errorf("%d, %d bytes", a.status, len(a.body))
					}
				})
			}
			all.Wait()
			if n := len(bedrock.requests()); n != 8 {
				t.Errorf("Bedrock got %d requests", n)
			}
			if n := len(theirs.requests()); n != 0 {
				t.Errorf("their processor saw %d requests of ours", n)
			}
			if a := post(t, address, `{}`, "Host", "shop.example.com"); a.status != 200 || len(theirs.requests()) != 1 || len(ours.requests()) != 8 {
				t.Errorf("their own request: %d; asked: theirs %d, ours %d", a.status, len(theirs.requests()), len(ours.requests()))
			}
		})
	}
}

// rename is a copy of a part with texts replaced, in pairs.
func rename(t *testing.T, part any, pairs ...string) any {
	t.Helper()
	b, err := yaml.Marshal(part)
	if err != nil {
		t.Fatal(err)
	}
	var copied any
	if err := yaml.Unmarshal([]byte(strings.NewReplacer(pairs...).Replace(string(b))), &copied); err != nil {
		t.Fatal(err)
	}
	return copied
}

// attach is theirs.yaml with a folder's fragments.
func attach(t *testing.T, folder, extproc, shop string) []byte {
	t.Helper()
	return places(t, attached(t, folder), extproc, shop)
}

// attached adds a folder's fragments to theirs.yaml, as the page says.
func attached(t *testing.T, folder string) map[string]any {
	t.Helper()
	root := load(t, filepath.Join("testdata", "theirs.yaml"))
	resources := root["static_resources"].(map[string]any)
	chain := first(first(resources["listeners"])["filter_chains"])
	manager := first(chain["filters"])["typed_config"].(map[string]any)
	routes := manager["route_config"].(map[string]any)
	replies := manager["local_reply_config"].(map[string]any)

	fragment := func(name string) map[string]any {
		return load(t, filepath.Join("..", "deploy", "attach", folder, name+".yaml"))
	}
	filters := manager["http_filters"].([]any)
	last := len(filters) - 1
	manager["http_filters"] = append(append(filters[:last:last], fragment("http_filters")["http_filters"].([]any)...), filters[last])
	routes["virtual_hosts"] = append(routes["virtual_hosts"].([]any), fragment("virtual_hosts")["virtual_hosts"].([]any)...)
	resources["clusters"] = append(resources["clusters"].([]any), fragment("clusters")["clusters"].([]any)...)
	ours := fragment("connection_manager")
	manager["early_header_mutation_extensions"] = ours["early_header_mutation_extensions"]
	replies["mappers"] = append(ours["local_reply_config"].(map[string]any)["mappers"].([]any), replies["mappers"].([]any)...)

	if limit := filepath.Join("..", "deploy", "attach", folder, "listener.yaml"); exists(limit) {
		maps.Copy(first(resources["listeners"]), load(t, limit))
	}
	return root
}

// shippedSocket is where the fragments have extproc.
const shippedSocket = "/run/aisix/extproc.sock"

// places puts a test's own socket and port in, and this machine's CAs.
func places(t *testing.T, root map[string]any, extproc, shop string) []byte {
	t.Helper()
	b, err := yaml.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(shop)
	return []byte(strings.NewReplacer(
		"path: "+shippedSocket+"\n", "path: "+strings.TrimPrefix(extproc, "unix:")+"\n",
		"port_value: 1\n", "port_value: "+port+"\n",
		envoy.DefaultCAFile, envoy.SystemCAFile(),
	).Replace(string(b)))
}

// socket is a path for one.
func socket(t *testing.T) string {
	t.Helper()
	return filepath.Join(envoytest.SocketDir(t), "extproc.sock")
}

func load(t *testing.T, path string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := yaml.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func first(list any) map[string]any { return list.([]any)[0].(map[string]any) }
