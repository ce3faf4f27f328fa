package mesh

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"aisix/cmd/internal/certtest"
	"aisix/cmd/internal/stack"

	"go.yaml.in/yaml/v3"
)

// manifests are where the page's files for Envoy Gateway are.
var manifests = filepath.Join(root, "deploy", "attach", "envoy-gateway")

// gatewayVersion is Envoy Gateway's, as deploy/tools/mesh/go.mod pins it.
const gatewayVersion = "1.9.1"

// theGateway is the one that runs: its own ports can't be chosen, so that another one ends it.
var theGateway *standalone

func gatewayCells() []cell {
	var all []cell
	for _, body := range []string{"full duplex", "buffered"} {
		for _, transport := range []string{"unix", "tcp", "mtls"} {
			c := cell{
				Mesh: "Envoy Gateway " + gatewayVersion, Envoy: newest, Body: body, Transport: transport,
				needs: []string{envoyBinary(newest), fetched("envoy-gateway")},
				start: func(t *testing.T, a *attachment) { envoyGateway(t, a) },
				// Envoy refuses what lies on its own machine: a rule of Envoy Gateway's.
				loopback: "127.0.0.2",
				without:  map[string]string{"a page of a browser": "Envoy's CORS filter passes by what has a direct response for its route"},
			}
			if c.nearby() {
				c.more = []check{silentTarget}
			}
			if transport == "unix" {
				c.removals = gatewayRemovals(body)
			}
			all = append(all, c)
		}
	}
	// The Envoy of its own release is a 1.39.
	older := all[0]
	older.Envoy, older.removals = "1.39.3", nil
	older.needs = []string{envoyBinary(older.Envoy), fetched("envoy-gateway")}
	return append(all, older)
}

// gatewayRemovals are the resources that somebody may delete and leave the others; what has nothing to
// do with the body mode, in one mode only.
func gatewayRemovals(body string) map[string]removal {
	all := map[string]removal{}
	for _, gone := range []struct {
		resources []string
		serves    bool
	}{
		{[]string{"EnvoyExtensionPolicy/aisix"}, false},
		{[]string{"ClientTrafficPolicy/aisix"}, true},
		{[]string{"EnvoyPatchPolicy/aisix"}, true},
		{[]string{"EnvoyPatchPolicy/aisix-egress"}, true},
		{[]string{"BackendTrafficPolicy/aisix", "BackendTrafficPolicy/aisix-messages", "BackendTrafficPolicy/aisix-out"}, true},
		{[]string{"SecurityPolicy/aisix"}, false}, // theirs holds for ours then
		{[]string{"EnvoyExtensionPolicy/aisix", "ClientTrafficPolicy/aisix"}, false},
		{[]string{"HTTPRoute/aisix"}, false},
		{[]string{"Backend/aisix-extproc"}, false},
	} {
		if body == "buffered" && gone.resources[0] != "EnvoyExtensionPolicy/aisix" && !strings.HasPrefix(gone.resources[0], "EnvoyPatchPolicy/") {
			continue
		}
		all[strings.Join(gone.resources, " and ")] = removal{
			start: func(t *testing.T, a *attachment) {
				if gone.serves {
					envoyGateway(t, a, gone.resources...)
					return
				}
				g := envoyGateway(t, a)
				a.ready(t)
				g.remove(t, gone.resources...)
			},
			serves: gone.serves,
		}
	}
	return all
}

// A standalone is a running Envoy Gateway, with the Envoy that it runs.
type standalone struct {
	a         *attachment
	resources string // folder of the resources, a file each
	command   *exec.Cmd
	out       *output
	once      sync.Once
}

// envoyGateway applies the page's files to somebody's Gateway, but for the resources that are left out.
func envoyGateway(t *testing.T, a *attachment, without ...string) *standalone {
	t.Helper()
	if theGateway != nil {
		theGateway.stop()
	}
	g := &standalone{a: a, resources: filepath.Join(a.dir, "resources"), out: &output{}}
	theGateway = g
	t.Cleanup(g.stop)
	for _, dir := range []string{g.resources, filepath.Join(a.dir, "data", "envoy-versions", a.Envoy, "bin")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(a.dir, "data", "envoy-versions", a.Envoy, "bin", "envoy")
	if err := os.Symlink(envoyBinary(a.Envoy), link); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	if a.process == nil {
		a.process = g.extproc(t)
	}
	g.apply(t, without)
	g.start(t)
	a.domain, a.owner, a.log = "ai.example.com", "shop.example.com", g.out.String
	if a.nearby() && !slices.Contains(without, "EnvoyPatchPolicy/aisix-egress") {
		a.egress = true
		a.awaitEgress(t)
	}
	return g
}

// extproc starts it, and puts the test's own places into its Backend.
func (g *standalone) extproc(t *testing.T) *stack.Part {
	t.Helper()
	a := g.a
	address := a.extprocAddress(t)
	a.extprocAt = address
	var env []string
	if a.nearby() {
		env = []string{"AISIX_EGRESS__ADDRESS=unix:" + a.egressSocket()}
	}
	if a.Transport == "mtls" {
		cert, key := certtest.New(t)
		a.certFile, a.keyFile = cert, key
		env = []string{"AISIX_EXTPROC__TLS_CERT_FILE=" + cert, "AISIX_EXTPROC__TLS_KEY_FILE=" + key, "AISIX_EXTPROC__CLIENT_CA_FILE=" + cert}
	}
	return a.extproc(t, address, env...)
}

// apply writes the resources: the owner's, the page's, and the CA of the test's upstream.
func (g *standalone) apply(t *testing.T, without []string) {
	t.Helper()
	a := g.a
	port, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	a.address = port
	files := []string{
		filepath.Join("testdata", "envoy-gateway.yaml"),
		filepath.Join(manifests, "aisix.yaml"),
		filepath.Join(manifests, "patches.yaml"),
		filepath.Join(manifests, strings.ReplaceAll(a.Body, " ", "-")+".yaml"),
		filepath.Join(manifests, "extproc-"+a.Transport+".yaml"),
	}
	if a.nearby() {
		files = append(files, filepath.Join(manifests, "egress.yaml"))
	}
	entries, err := filepath.Glob(filepath.Join(g.resources, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range entries {
		os.Remove(old)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
			var r node
			if err := d.Decode(&r); err != nil {
				break
			}
			if !slices.Contains(without, resourceName(r)) {
				g.write(t, r)
			}
		}
	}
	ca, err := os.ReadFile(a.caFile)
	if err != nil {
		t.Fatal(err)
	}
	g.write(t, configMap("test-ca", string(ca)))
	if a.Transport == "mtls" {
		cert, _ := os.ReadFile(a.certFile)
		key, _ := os.ReadFile(a.keyFile)
		g.write(t, configMap("aisix-extproc-ca", string(cert)))
		g.write(t, node{"apiVersion": "v1", "kind": "Secret", "metadata": node{"name": "aisix-envoy", "namespace": "default"},
			"type": "kubernetes.io/tls", "data": node{"tls.crt": base64.StdEncoding.EncodeToString(cert), "tls.key": base64.StdEncoding.EncodeToString(key)}})
	}
}

func configMap(name, ca string) node {
	return node{"apiVersion": "v1", "kind": "ConfigMap", "metadata": node{"name": name, "namespace": "default"}, "data": node{"ca.crt": ca}}
}

func resourceName(r node) string {
	return fmt.Sprintf("%v/%v", r["kind"], r["metadata"].(node)["name"])
}

func (g *standalone) path(resource string) string {
	return filepath.Join(g.resources, strings.ReplaceAll(resource, "/", "-")+".yaml")
}

// write adds a resource, with this test's addresses in it.
func (g *standalone) write(t *testing.T, r node) {
	t.Helper()
	spec, _ := r["spec"].(node)
	switch resourceName(r) {
	case "Gateway/eg":
		first(spec["listeners"])["port"] = socketAddress(g.a.address)["port_value"]
	case "EnvoyProxy/eg":
		spec["provider"].(node)["host"] = node{"envoyVersion": g.a.Envoy}
	case "EnvoyPatchPolicy/aisix-egress":
		first(spec["jsonPatches"])["operation"].(node)["value"].(node)["address"].(node)["pipe"].(node)["path"] = g.a.egressSocket()
	case "Backend/shop":
		at := socketAddress(g.a.shop.host())
		spec["endpoints"] = []any{node{"ip": node{"address": at["address"], "port": at["port_value"]}}}
	case "Backend/aisix-tls": // as the page says for a private CA
		tls := spec["tls"].(node)
		delete(tls, "wellKnownCACertificates")
		tls["caCertificateRefs"] = []any{node{"group": "", "kind": "ConfigMap", "name": "test-ca"}}
	case "Backend/aisix-extproc":
		end := first(spec["endpoints"])
		switch at := g.a.extprocAt; g.a.Transport {
		case "unix":
			end["unix"] = node{"path": strings.TrimPrefix(at, "unix:")}
		case "tcp":
			end["ip"] = node{"address": socketAddress(at)["address"], "port": socketAddress(at)["port_value"]}
		case "mtls":
			end["fqdn"] = node{"hostname": "localhost", "port": socketAddress(at)["port_value"]}
			spec["tls"].(node)["sni"] = "localhost"
		}
	}
	b, err := yaml.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(g.path(resourceName(r)), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// start runs it, and returns when its Envoy listens.
func (g *standalone) start(t *testing.T) {
	t.Helper()
	home := func(name string) string { return filepath.Join(g.a.dir, name) }
	config := home("envoy-gateway.yaml")
	b, err := yaml.Marshal(node{
		"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyGateway",
		"gateway": node{"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
		"provider": node{"type": "Custom", "custom": node{
			"resource":       node{"type": "File", "file": node{"paths": []string{g.resources}}},
			"infrastructure": node{"type": "Host", "host": node{"configHome": home("config"), "dataHome": home("data"), "stateHome": home("state"), "runtimeDir": home("run")}},
		}},
		"logging":       node{"level": node{"default": "info"}},
		"extensionApis": node{"enableBackend": true, "enableEnvoyPatchPolicy": true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if !exists(home("config")) {
		if out, err := exec.Command(fetched("envoy-gateway"), "certgen", "--local", "--config-home", home("config")).CombinedOutput(); err != nil {
			t.Fatalf("certgen: %v\n%s", err, out)
		}
	}
	g.command = exec.Command(fetched("envoy-gateway"), "server", "--config-path", config)
	g.command.Stdout, g.command.Stderr = g.out, g.out
	g.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // its Envoy is of its group
	if err := g.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			log := g.out.String()
			t.Logf("Envoy Gateway:\n%s", log[max(0, len(log)-16<<10):])
		}
	})
}

// stop ends it and its Envoy.
func (g *standalone) stop() {
	g.once.Do(func() {
		if g.command != nil && g.command.Process != nil {
			syscall.Kill(-g.command.Process.Pid, syscall.SIGKILL)
			g.command.Wait()
		}
	})
}

// remove deletes resources while it runs, and returns when it holds: callers are served no more.
func (g *standalone) remove(t *testing.T, resources ...string) {
	t.Helper()
	for _, r := range resources {
		if err := os.Remove(g.path(r)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error {
		r, err := client.Do(g.a.request(t, t.Context(), "GET", g.a.domain, "/readyz", ""))
		if err != nil {
			return err
		}
		if got := read(t, r); got.status == 200 {
			return fmt.Errorf("still served: %v", got)
		}
		return nil
	})
}

// output is what a process says.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// What callers of ours get from Envoy itself there: the page's table.
func TestEnvoyGatewayAnswers(t *testing.T) {
	c := gatewayCells()[3] // buffered, on a Unix socket
	if !*every {
		return // a cell's binaries are of make mesh-tools
	}
	if path := c.missing(); path != "" {
		t.Logf("left out: no %s", path)
		return
	}
	a := attach(t, c)
	caller := a.tenant(t)
	envoyGateway(t, a)
	a.ready(t)
	for _, q := range []struct {
		name, text string
		status     int
	}{
		{"large headers", "GET / HTTP/1.1\r\nHost: " + a.domain + "\r\nx: " + strings.Repeat("x", 70<<10) + "\r\n\r\n", 431},
		{"no HTTP", "GET / HTTP/1.1\r\nHost: " + a.domain + "\r\nno header\r\n\r\n", 400},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: " + a.domain + "\r\n\r\n", 426},
		{"an upgrade", "GET /v1/x HTTP/1.1\r\nHost: " + a.domain + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 403},
		{"underscores", "GET /v1/x HTTP/1.1\r\nHost: " + a.domain + "\r\nx_y: z\r\n\r\n", 400},
	} {
		_, _, response := a.raw(t, q.text)
		if got := read(t, response); got.status != q.status || strings.HasPrefix(got.body, "{") {
			t.Errorf("%s: %v, want %d without JSON", q.name, got, q.status)
		}
	}
	caller.chat(t, caller.plain, strings.Repeat("x", 11<<20)).wantError(t, 413, "invalid_request_error")

	name := "loopback-" + caller.plain
	provider := a.create(t, "provider_keys", map[string]any{"display_name": name, "api_base": a.SimURL(),
		"secret": `{"access_key_id":"YOUR_AWS_ACCESS_KEY_ID","secret_access_key":"YOUR_AWS_SECRET_ACCESS_KEY","region":"us-west-2"}`})
	a.create(t, "models", map[string]any{"display_name": name, "model_name": "amazon.nova-pro-v1:0", "provider_key_id": provider})
	hash := sha256.Sum256([]byte("sk-" + name))
	a.create(t, "apikeys", map[string]any{"key_hash": hex.EncodeToString(hash[:]), "allowed_models": []string{name}})
	eventually(t, func() error {
		got := caller.chat(t, name, "Hello", "Authorization", "Bearer sk-"+name)
		if got.status == 401 {
			return errors.New("the key is not in force")
		}
		got.wantError(t, 502, "transport_error") // what lies on 127.0.0.1 is refused
		return nil
	})
	// The second try goes by the egress listener, to the same answer.
	twice := name + "-twice"
	target := func(name string) any {
		return map[string]any{"name": name, "model_name": "amazon.nova-pro-v1:0", "provider_key_id": provider}
	}
	a.create(t, "models", map[string]any{"display_name": twice, "targets": []any{target("one"), target("two")}})
	hash = sha256.Sum256([]byte("sk-" + twice))
	a.create(t, "apikeys", map[string]any{"key_hash": hex.EncodeToString(hash[:]), "allowed_models": []string{twice}})
	eventually(t, func() error {
		got := caller.chat(t, twice, "Hello", "Authorization", "Bearer sk-"+twice)
		if got.status == 401 {
			return errors.New("the key is not in force")
		}
		got.wantError(t, 502, "transport_error")
		if n := got.header.Get("x-aisix-attempts"); n != "2" {
			t.Errorf("%q attempts: %v", n, got)
		}
		return nil
	})
	if got := caller.call(t, "POST", "/v1/messages", `{"model":"`+caller.plain+`","max_tokens":9,"messages":[{"role":"user","content":"Hello"}]}`); got.status != 200 {
		t.Errorf("Anthropic's API: %v", got)
	}
	a.process.Kill()
	caller.chat(t, caller.plain, "Hello").wantError(t, 503, "gateway_unavailable")
	for _, path := range []string{"/v1/messages", "/v1/messages/count_tokens", "/v1/messages?beta=true"} {
		got := caller.call(t, "POST", path, `{}`, "x-request-id", "the-callers-own")
		var o struct {
			Type  string
			Error struct{ Type, Message string }
		}
		if json.Unmarshal([]byte(got.body), &o) != nil || got.status != 529 || o.Type != "error" || o.Error.Type != "overloaded_error" || o.Error.Message == "" || got.header.Get("request-id") != "the-callers-own" || got.header.Get("x-aisix-request-id") != "the-callers-own" || got.header.Get("retry-after") != "1" {
			t.Errorf("%s without extproc: %v", path, got)
		}
	}
}
