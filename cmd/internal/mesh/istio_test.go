package mesh

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"aisix/cmd/internal/certtest"
	"aisix/envoy/envoytest"

	"go.yaml.in/yaml/v3"
)

// istioVersion is Istio's, as deploy/tools/mesh/go.mod pins it: its module has no releases.
const istioVersion = "1.32-dev"

// istioListeners are where Istio has a proxy take requests for our host.
var istioListeners = map[string]string{"gateway": "0.0.0.0_8080", "sidecar": "0.0.0.0_80"}

func istioCells() []cell {
	var all []cell
	for _, proxy := range []string{"gateway", "sidecar"} {
		for _, body := range []string{"full duplex", "buffered"} {
			for _, transport := range []string{"unix", "mtls"} {
				c := cell{
					Mesh: "Istio " + istioVersion + ", " + proxy, Envoy: newest, Body: body, Transport: transport,
					needs: []string{envoyBinary(newest), fetched("meshcheck")},
					start: func(t *testing.T, a *attachment) { istio(t, a, proxy) },
				}
				if transport == "unix" {
					c.more = []check{silentTarget}
					c.removals = map[string]removal{}
					for _, gone := range []string{"EnvoyFilter/aisix", "EnvoyFilter/aisix-extproc", "EnvoyFilter/aisix-egress", "VirtualService/aisix"} {
						c.removals[gone] = removal{
							start: func(t *testing.T, a *attachment) { istio(t, a, proxy, gone) },
							// The ServiceEntry has the host too.
							serves: proxy == "sidecar" && gone == "VirtualService/aisix" || gone == "EnvoyFilter/aisix-egress",
						}
					}
				}
				all = append(all, c)
			}
		}
	}
	return all
}

// istio runs Envoy on what Istio's control plane makes of the page's files for a proxy, but for the
// resources that are left out.
func istio(t *testing.T, a *attachment, proxy string, without ...string) {
	t.Helper()
	folder := filepath.Join(root, "deploy", "attach", "istio", proxy)
	files := []string{
		filepath.Join("testdata", "istio-"+proxy+".yaml"),
		filepath.Join(folder, "aisix.yaml"),
		filepath.Join(folder, strings.ReplaceAll(a.Body, " ", "-")+".yaml"),
		filepath.Join(folder, "extproc-"+a.Transport+".yaml"),
		filepath.Join(folder, "browsers.yaml"),
	}
	var env []string
	if a.nearby() {
		files = append(files, filepath.Join(folder, "egress.yaml"))
		env = []string{"AISIX_EGRESS__ADDRESS=unix:" + a.egressSocket()}
		a.egress = !slices.Contains(without, "EnvoyFilter/aisix-egress")
	}
	if a.Transport == "mtls" {
		a.certFile, a.keyFile = certtest.New(t)
		env = []string{"AISIX_EXTPROC__TLS_CERT_FILE=" + a.certFile, "AISIX_EXTPROC__TLS_KEY_FILE=" + a.keyFile, "AISIX_EXTPROC__CLIENT_CA_FILE=" + a.certFile}
	}
	address := a.extprocAddress(t)
	a.process = a.extproc(t, address, env...)

	token, keys := theirToken(t)
	a.ownerToken = token
	var resources []any
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for d := yaml.NewDecoder(bytes.NewReader(b)); ; {
			var r node
			if d.Decode(&r) != nil {
				break
			}
			if slices.Contains(without, resourceName(r)) {
				continue
			}
			walk(r, func(m node) { // the test's own places
				if m["jwks"] == "JWKS" {
					m["jwks"] = keys
				}
				if at, ok := m["socket_address"].(node); ok && at["address"] == "extproc.aisix.svc.cluster.local" {
					m["socket_address"] = socketAddress("localhost" + address[strings.LastIndex(address, ":"):])
				}
			})
			resources = append(resources, r)
		}
	}
	bootstrap := istioBootstrap(t, proxy, resources)
	bootstrap["static_resources"].(node)["listeners"] = slices.DeleteFunc(bootstrap["static_resources"].(node)["listeners"].([]any), func(l any) bool {
		name := l.(node)["name"]
		return name != istioListeners[proxy] && name != "aisix_egress"
	})
	l := listener(bootstrap)
	l["address"] = node{"socket_address": node{"address": "127.0.0.1", "port_value": 0}}
	delete(l, "bind_to_port") // connections come from iptables there
	walk(bootstrap, func(m node) {
		for _, key := range []string{"sni", "exact"} {
			if m[key] == "extproc.aisix.svc.cluster.local" {
				m[key] = "localhost"
			}
		}
		switch m["filename"] {
		case "/etc/aisix/tls/tls.crt", "/etc/aisix/tls/ca.crt":
			m["filename"] = a.certFile
		case "/etc/aisix/tls/tls.key":
			m["filename"] = a.keyFile
		}
	})
	walk(bootstrap, func(m node) { // of the shop's cluster
		if at, ok := m["socket_address"].(node); ok && at["address"] == "shop.localhost" {
			at["port_value"] = 1
		}
	})
	e := envoytest.StartBinary(t, envoyBinary(a.Envoy), a.places(t, bootstrap, address))
	a.address, a.domain, a.owner = e.Address(t, istioListeners[proxy]), "ai.example.com", "shop.example.com"
}

// istioBootstrap is Envoy's start file of these resources.
func istioBootstrap(t *testing.T, proxy string, resources []any) node {
	t.Helper()
	var all bytes.Buffer
	e := yaml.NewEncoder(&all)
	for _, r := range resources {
		if err := e.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "resources.yaml")
	if err := os.WriteFile(file, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	check := exec.Command(fetched("meshcheck"), "istio", proxy, file)
	check.Stderr = &said
	b, err := check.Output()
	if err != nil {
		t.Fatalf("meshcheck: %v\n%s", err, said.Bytes())
	}
	var bootstrap node
	if err := json.Unmarshal(b, &bootstrap); err != nil {
		t.Fatal(err)
	}
	return bootstrap
}

// theirToken is a JWT of the owner's, and the JWKS that knows it.
func theirToken(t *testing.T) (token, keys string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + encode([]byte(`{"iss":"acme","sub":"somebody","exp":4102444800}`))
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	keys = `{"keys":[{"kty":"RSA","alg":"RS256","kid":"k","n":"` + encode(key.N.Bytes()) + `","e":"` + encode(big.NewInt(int64(key.E)).Bytes()) + `"}]}`
	return signed + "." + encode(signature), keys
}

// The manifests are as the CRDs of Gateway API, Envoy Gateway and Istio want them, without a field
// that is unknown there.
func TestManifests(t *testing.T) {
	if !*every {
		return // meshcheck is of make mesh-tools
	}
	if !exists(fetched("meshcheck")) {
		t.Log("left out: the manifests against their CRDs (no " + fetched("meshcheck") + ")")
		return
	}
	var files []string
	for _, pattern := range []string{"envoy-gateway/*.yaml", "istio/*/*.yaml"} {
		found, err := filepath.Glob(filepath.Join(root, "deploy", "attach", filepath.FromSlash(pattern)))
		if err != nil || len(found) < 5 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		files = append(files, found...)
	}
	if out, err := exec.Command(fetched("meshcheck"), append([]string{"schema"}, files...)...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// What a check does not refuse, it does not check.
	var wrong []string
	for i, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		wrong = append(wrong, filepath.Join(t.TempDir(), fmt.Sprint("wrong", i, ".yaml")))
		if err := os.WriteFile(wrong[i], bytes.Replace(b, []byte("\nspec:\n"), []byte("\nspec:\n  noSuchField: 1\n"), 1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(fetched("meshcheck"), append([]string{"schema"}, wrong...)...).CombinedOutput(); err == nil || strings.Count(string(out), "noSuchField") != len(files) {
		t.Errorf("%d files with an unknown field: %v\n%s", len(files), err, out)
	}
}
