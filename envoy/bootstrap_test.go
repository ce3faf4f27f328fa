package envoy_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aisix/envoy"
	"aisix/envoy/envoytest"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

// golden compares got with the file, or writes it with -update.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the package builds (go test ./envoy -update):\n%s", path, cmp.Diff(string(want), string(got)))
	}
}

// What ships is what the package makes, byte for byte and each time.
func TestShipped(t *testing.T) {
	files, err := envoy.Shipped()
	if err != nil {
		t.Fatal(err)
	}
	again, _ := envoy.Shipped()
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", "deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("deploy/%s is not what the package makes: run make generate (-code +file):\n%s", name, diff)
		}
		if !bytes.Equal(want, again[name]) {
			t.Errorf("%s has other bytes the second time", name)
		}
	}
	shipped, err := filepath.Glob("../deploy/attach/*/*.yaml")
	if err != nil || len(shipped)+1 != len(files) {
		t.Errorf("%d files in deploy/attach, made are %d, %v", len(shipped), len(files)-1, err)
	}
}

// variants are the shapes that the launcher and operators make, with fixed
// paths, so that their golden files are the same everywhere.
var variants = map[string]func(o *envoy.Options){
	"default": func(*envoy.Options) {},
	"everything": func(o *envoy.Options) {
		o.Listen = "[::]:443"
		o.AdminSocket = "/run/aisix/envoy-admin.sock"
		o.TLSCertFile, o.TLSKeyFile = "/etc/aisix/tls.crt", "/etc/aisix/tls.key"
		o.UpstreamCAFile = "/etc/aisix/ca.pem"
		o.TrustedHops = 1
		o.AllowOrigins = []string{"https://app.example.com", "https://*.example.com", "http://localhost:*"}
		o.MaxConnections, o.MaxUpstream, o.MaxPerAddress = 100, 50, 10
		o.StatisticsListen = "127.0.0.1:9091"
		o.SecretsDir = "/etc/aisix"
		o.MoreExtProcs = []string{"unix:/run/aisix/extproc-2.sock"}
	},
	"buffered": func(o *envoy.Options) {
		o.BodyMode = envoy.Buffered
		o.AllowOrigins = []string{"*"}
	},
}

func TestVariants(t *testing.T) {
	for name, set := range variants {
		t.Run(name, func(t *testing.T) {
			o := envoy.Defaults()
			set(&o)
			b, err := envoy.Bootstrap(o)
			if err != nil {
				t.Fatal(err)
			}
			if name != "default" { // but for extproc's address, that one is deploy/bootstrap.yaml
				golden(t, filepath.Join("testdata", name+".yaml"), b)
			}

			// Envoy opens the files while it loads: the same with files that exist, and for
			// the Envoy that is here.
			if o.Version = envoytest.Version(t); o.Version < 38 {
				o.BodyMode = envoy.Buffered
			}
			ca := newAuthority(t)
			cert, key := ca.issue(t, "localhost")
			o.UpstreamCAFile = write(t, "ca.pem", ca.pem())
			if o.TLSCertFile != "" {
				o.TLSCertFile, o.TLSKeyFile = write(t, "cert.pem", cert), write(t, "key.pem", key)
			}
			if o.SecretsDir != "" {
				o.SecretsDir = filepath.Dir(o.UpstreamCAFile)
				secrets, err := envoy.Secrets(o)
				if err != nil || len(secrets) != 2 {
					t.Fatalf("%d secrets, %v", len(secrets), err)
				}
				for file, secret := range secrets {
					if err := os.WriteFile(filepath.Join(o.SecretsDir, file), secret, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			if b, err = envoy.Bootstrap(o); err != nil {
				t.Fatal(err)
			}
			envoytest.Validate(t, b)
		})
	}
}

func TestBadOptions(t *testing.T) {
	for want, set := range map[string]func(o *envoy.Options){
		"listen":              func(o *envoy.Options) { o.Listen = ":3000" },
		"extproc":             func(o *envoy.Options) { o.ExtProc = "extproc:3002" },
		"unix:/absolute/path": func(o *envoy.Options) { o.ExtProc = "unix:run/x.sock" },
		"statistics listen":   func(o *envoy.Options) { o.StatisticsListen = "9091" },
		"so set its socket":   func(o *envoy.Options) { o.StatisticsListen = "127.0.0.1:9091" },
		"named twice":         func(o *envoy.Options) { o.MoreExtProcs = []string{o.ExtProc} },
		"takes mutual TLS":    func(o *envoy.Options) { o.ExtProc = "10.0.0.1:3002" },
		"be mixed":            func(o *envoy.Options) { o.MoreExtProcs = []string{"localhost:3002"} },
		"CA, certificate":     func(o *envoy.Options) { o.ExtProc, o.ExtProcCAFile = "extproc:3002", "/ca" },
		"certificate for":     func(o *envoy.Options) { o.ExtProcCertFile = "cert.pem" },
		"health interval":     func(o *envoy.Options) { o.HealthInterval = 0 },
		"body mode":           func(o *envoy.Options) { o.BodyMode = "streamed" },
		"go together":         func(o *envoy.Options) { o.TLSCertFile = "/x" },
		"upstream CA file":    func(o *envoy.Options) { o.UpstreamCAFile = "" },
		"admin socket":        func(o *envoy.Options) { o.AdminSocket = "127.0.0.1:9901" },
		"max request bytes":   func(o *envoy.Options) { o.MaxRequestBytes = 0 },
		"max connections":     func(o *envoy.Options) { o.MaxConnections = -1 },
		"max upstream":        func(o *envoy.Options) { o.MaxUpstream = 1 << 40 },
		"trusted hops":        func(o *envoy.Options) { o.TrustedHops = -1 },
		"allowed origin":      func(o *envoy.Options) { o.AllowOrigins = []string{"https://a.example\")"} },
		"per address":         func(o *envoy.Options) { o.MaxPerAddress = -1 },
		"max memory bytes":    func(o *envoy.Options) { o.MaxMemoryBytes = 0 },
		"first byte":          func(o *envoy.Options) { o.FirstByteTimeout = 0 },
		"idle timeout":        func(o *envoy.Options) { o.IdleTimeout = -1 },
		"extproc silence":     func(o *envoy.Options) { o.ExtProcSilence = 0 },
		"request timeout":     func(o *envoy.Options) { o.RequestTimeout = 0 },
		"stream idle timeout": func(o *envoy.Options) { o.StreamIdleTimeout = -time.Second },
	} {
		o := envoy.Defaults()
		set(&o)
		b, err := envoy.Bootstrap(o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", want, err)
		}
		if b != nil {
			t.Errorf("%s: bytes beside an error", want)
		}
	}
	o := envoy.Options{}
	if _, err := envoy.Bootstrap(o); err == nil || strings.Count(err.Error(), "\n") < 8 {
		t.Errorf("the zero Options: want every problem at once, got %v", err)
	}
}

func TestCABundle(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	got, err := envoy.CABundle(append([]byte("# a comment\n"), a.pem()...), b.pem())
	if err != nil || !bytes.Equal(got, append(a.pem(), b.pem()...)) {
		t.Errorf("%v: %s", err, got)
	}
	_, key := a.issue(t, "x")
	for name, in := range map[string][]byte{"empty": nil, "no PEM": []byte("hello"), "a key": key, "broken": []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")} {
		if _, err := envoy.CABundle(a.pem(), in); err == nil {
			t.Errorf("%s: taken for a bundle", name)
		}
	}
}
