// Package kube checks the Helm chart as a cluster would: helm lints and renders it with each file of
// deploy/helm/values, and what comes out must be what the golden file holds, decode strictly, and pass
// the API server's own validation (Kubernetes's packages, and the CRDs' schemas). It is a module of its
// own, so that Kubernetes is no dependency of the product. `make helm-lint` runs it.
package kube

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/yaml"
)

var update = flag.Bool("update", false, "write the golden files")

const (
	chart       = "../../helm/aisix"
	kubeVersion = "1.37.2" // of Kubernetes's modules in go.mod
)

// helm runs it, and gives what it says.
func helm(t *testing.T, args ...string) []byte {
	t.Helper()
	path := os.Getenv("HELM")
	if path == "" {
		path = "../../../.tools/helm"
	}
	cmd := exec.Command(path, args...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("helm %s: %v\n%s%s", strings.Join(args, " "), err, out.Bytes(), problems.Bytes())
	}
	return out.Bytes()
}

func values(t *testing.T) []string {
	files, err := filepath.Glob("../../helm/values/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	return files
}

func TestChart(t *testing.T) {
	kinds := map[string]int{}
	for _, file := range values(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			helm(t, "lint", "--strict", "--kube-version", kubeVersion, chart, "-f", file)
			got := render(t, file)
			golden := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(golden); err != nil || !bytes.Equal(want, got) {
				t.Errorf("what helm renders is not %s (%v): go test -update, and look at the difference", golden, err)
			}
			for _, text := range documents(t, got) {
				o, problems := check(text)
				for _, p := range problems {
					t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), p)
				}
				kinds[o.GetKind()]++
			}
		})
	}
	for _, kind := range []string{"Deployment", "Service", "ConfigMap", "Secret", "ServiceAccount", "PodDisruptionBudget", "HorizontalPodAutoscaler",
		"NetworkPolicy", "PodMonitor", "ServiceMonitor", "PrometheusRule", "Certificate", "Issuer"} {
		if kinds[kind] == 0 {
			t.Errorf("no values render a %s: it is not checked", kind)
		}
	}
}

// What the try in a cluster needs beside the chart.
func TestTry(t *testing.T) {
	text, err := os.ReadFile("../../helm/try.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := documents(t, text)
	if len(all) != 5 {
		t.Errorf("%d objects", len(all))
	}
	for _, d := range all {
		o, problems := check(d)
		for _, p := range problems {
			t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), p)
		}
	}
}

// render is what helm makes of the chart; the generated admin key is another each time.
func render(t *testing.T, file string) []byte {
	t.Helper()
	var out bytes.Buffer
	for line := range bytes.Lines(helm(t, "template", "gw", chart, "-n", "ai", "--kube-version", kubeVersion, "-f", file)) {
		if bytes.HasPrefix(line, []byte("  admin.key: ")) {
			line = []byte("  admin.key: \"YWRtaW4ga2V5IG9mIHRoZSB0ZXN0\"\n")
		}
		out.Write(line)
	}
	return out.Bytes()
}

// documents are the objects in a stream of YAML.
func documents(t *testing.T, b []byte) (all [][]byte) {
	t.Helper()
	r := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(b)))
	for {
		text, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("kind:")) {
			all = append(all, text)
		}
	}
}

// What a cluster would refuse must be found out here: the check itself is checked.
func TestCheckFindsWhatAClusterRefuses(t *testing.T) {
	whole := render(t, "../../helm/values/everything.yaml")
	certificates := render(t, "../../helm/values/service.yaml")
	for what, x := range map[string]struct {
		in       []byte
		from, to string
		says     string
	}{
		"an unknown field":          {whole, "revisionHistoryLimit:", "revisionHistoryLimits:", "unknown field"},
		"a duplicate field":         {whole, "enableServiceLinks: false", "enableServiceLinks: false\n      enableServiceLinks: false", "already set"},
		"a volume that is not":      {whole, "- name: run\n              mountPath", "- name: runs\n              mountPath", "Not found"},
		"a port that is not":        {whole, "port: proxy, scheme: HTTPS", "port: proxyproxyproxyproxy, scheme: HTTPS", "must be no more than 15 characters"},
		"a selector of others":      {whole, "app.kubernetes.io/component: gateway\n  strategy", "app.kubernetes.io/component: other\n  strategy", "does not match"},
		"root":                      {whole, "runAsNonRoot: true", "runAsNonRoot: false", "restricted"},
		"a capability":              {whole, "drop: [ALL]", "drop: [CHOWN]", "restricted"},
		"a wrong type":              {whole, "minReplicas: 3", "minReplicas: three", "minReplicas"},
		"a wrong enum":              {whole, "policyTypes: [Ingress, Egress]", "policyTypes: [Ingres, Egress]", "policyTypes"},
		"a monitor's unknown field": {whole, "podMetricsEndpoints:\n    - {port: metrics,", "podMetricsEndpoints:\n    - {prt: metrics,", "unknown field"},
		"a rule's wrong duration":   {whole, "for: 2m", "for: soon", "for"},
		"a certificate's usage":     {certificates, "usages: [digital signature, server auth]", "usages: [server]", "usages"},
	} {
		spoilt := bytes.Replace(x.in, []byte(x.from), []byte(x.to), 1)
		if bytes.Equal(spoilt, x.in) {
			t.Errorf("%s: %q is not there", what, x.from)
		}
		var all []string
		for _, text := range documents(t, spoilt) {
			_, problems := check(text)
			for _, p := range problems {
				all = append(all, p.Error())
			}
		}
		if said := strings.Join(all, "\n"); len(all) == 0 || !strings.Contains(said, x.says) {
			t.Errorf("%s: %q", what, said)
		}
	}
}

// What the values' schema is for: a mistake is named, before anything is rendered.
func TestValuesAreStrict(t *testing.T) {
	for set, says := range map[string]string{
		"gateway.replica=3":                  "additional properties 'replica' not allowed",
		"mode=other":                         "/mode",
		"config.secrets.master_key=x":        "/config",
		"config.admin.key=0123456789abcdef0": "secrets and Redis's address are not configuration here",
		"redis.address=redis://x":            "/redis/address",
		"redis.address=":                     "redis.address is needed",
		"masterKey.existingSecret=":          "kubectl create secret generic",
		"admin.key.existingSecret=":          "admin.key.generate",
		"images.extproc.digest=abc":          "/images/extproc/digest",
		"gateway.envoy.logLevel=debug":       "/gateway/envoy/logLevel", // it prints credentials
		"mode=service":                       "mtls.existingSecret",
	} {
		path := os.Getenv("HELM")
		if path == "" {
			path = "../../../.tools/helm"
		}
		out, err := exec.Command(path, "template", "gw", chart, "--kube-version", kubeVersion, "-f", "../../helm/values/sidecar.yaml", "--set", set).CombinedOutput()
		if err == nil || !strings.Contains(string(out), says) {
			t.Errorf("--set %s: %v\n%.400s", set, err, out)
		}
	}
}
