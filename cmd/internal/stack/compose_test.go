package stack

import (
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"aisix/cmd/internal/config"
)

const root = "../../../"

type service struct {
	Image, Restart string
	NetworkMode    string `yaml:"network_mode"`
	Build          struct{ Dockerfile string }
	Environment    map[string]string
	Ports, Volumes []string
	Healthcheck    struct{ Test []string }
	DependsOn      map[string]any `yaml:"depends_on"`
}

func TestComposePublishesTwoPortsAndRunsASidecar(t *testing.T) {
	services := compose(t)
	var published []string
	for name, s := range services {
		published = append(published, s.Ports...)
		if len(s.Healthcheck.Test) == 0 && s.Restart != "no" {
			t.Errorf("%s has no healthcheck", name)
		}
		for other := range s.DependsOn {
			if _, ok := services[other]; !ok {
				t.Errorf("%s depends on %s, which is no service", name, other)
			}
		}
		if s.Build.Dockerfile != "" {
			exists(t, s.Build.Dockerfile)
		}
		for _, volume := range s.Volumes {
			if path, ok := strings.CutPrefix(strings.Split(volume, ":")[0], "./"); ok {
				exists(t, path)
			}
		}
	}
	sort.Strings(published)
	if want := []string{"127.0.0.1:3001:3001", "3000:3000"}; !slices.Equal(published, want) {
		t.Errorf("published: %v, want %v", published, want)
	}
	if mode := services["extproc"].NetworkMode; mode == "" || mode != services["envoy"].NetworkMode {
		t.Errorf("extproc is in %q, envoy in %q: not one network namespace", mode, services["envoy"].NetworkMode)
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
		if _, err := config.Load(root+"deploy/config.yaml", env); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func compose(t *testing.T) map[string]service {
	t.Helper()
	text, err := os.ReadFile(root + "docker-compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Services map[string]service }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Services) == 0 {
		t.Fatal("no services")
	}
	return file.Services
}

func exists(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, path)); err != nil {
		t.Error(err)
	}
}
