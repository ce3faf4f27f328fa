package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"aisix/cmd/internal/stack"
)

// manifest is what of a rendered chart a pod is made of.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Template struct{ Spec podSpec }
	}
}

type podSpec struct {
	TerminationGracePeriodSeconds int         `yaml:"terminationGracePeriodSeconds"`
	InitContainers                []container `yaml:"initContainers"`
	Containers                    []container
	Volumes                       []struct {
		Name      string
		ConfigMap *struct {
			Name  string
			Items []struct{ Key, Path string }
		} `yaml:"configMap"`
		Secret *struct {
			Name  string `yaml:"secretName"`
			Items []struct{ Key, Path string }
		}
		EmptyDir map[string]any `yaml:"emptyDir"`
	}
}

type container struct {
	Name          string
	RestartPolicy string `yaml:"restartPolicy"`
	Command, Args []string
	Env           []struct {
		Name, Value string
		ValueFrom   *struct {
			FieldRef *struct {
				Path string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
		} `yaml:"valueFrom"`
	}
	VolumeMounts []struct {
		Name string
		Path string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
	StartupProbe   *probe `yaml:"startupProbe"`
	ReadinessProbe *probe `yaml:"readinessProbe"`
	LivenessProbe  *probe `yaml:"livenessProbe"`
	Lifecycle      struct {
		PreStop struct{ Exec struct{ Command []string } } `yaml:"preStop"`
	}
}

type probe struct {
	TCP *struct{ Port string }       `yaml:"tcpSocket"`
	GET *struct{ Path, Port string } `yaml:"httpGet"`
}

// pod runs the containers of a rendered pod as processes of this machine: their commands, arguments,
// environment and files, with each mount a folder of its own and each port a free one.
type pod struct {
	t       *testing.T
	spec    podSpec
	paths   []string          // mount paths in place of which the folders stand, and ports likewise
	ports   map[string]string // name -> address
	secrets map[string]string // of volumes: key -> content
	bin     string
	running map[string]*exec.Cmd
	ended   map[string]chan struct{}
	output  map[string]*bytes.Buffer
}

// rendered is the pod of a deployment in a golden file of the chart.
func rendered(t *testing.T, file, deployment string, configMaps map[string]map[string]string) (spec podSpec) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := yaml.NewDecoder(f); ; {
		var m manifest
		err := d.Decode(&m)
		if errors.Is(err, io.EOF) {
			return spec
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case m.Kind == "ConfigMap":
			configMaps[m.Metadata.Name] = m.Data
		case m.Kind == "Deployment" && m.Metadata.Name == deployment:
			spec = m.Spec.Template.Spec
		}
	}
}

func newPod(t *testing.T, file, deployment, redis string, secrets map[string]string) *pod {
	t.Helper()
	configMaps := map[string]map[string]string{}
	p := &pod{t: t, spec: rendered(t, file, deployment, configMaps), ports: map[string]string{}, secrets: secrets,
		running: map[string]*exec.Cmd{}, ended: map[string]chan struct{}{}, output: map[string]*bytes.Buffer{}}
	root, err := os.MkdirTemp(bin, "pod") // short, as a socket's path has to be
	if err != nil {
		t.Fatal(err)
	}
	for name, number := range map[string]string{"proxy": "3000", "metrics": "9090", "envoy-metrics": "9091", "extproc": "3002"} {
		if p.ports[name], err = stack.FreePort(); err != nil {
			t.Fatal(err)
		}
		p.paths = append(p.paths, "0.0.0.0:"+number, p.ports[name])
	}
	p.paths = append(p.paths, "15s", "1s") // holdSeconds: how long it takes is nothing to a test
	p.paths = append(p.paths, "redis://valkey.data.svc:6379/0", redis)
	mounts := map[string]string{}
	for _, c := range slices.Concat(p.spec.InitContainers, p.spec.Containers) {
		for _, m := range c.VolumeMounts {
			mounts[m.Path] = m.Name
		}
	}
	for path, name := range mounts {
		dir := filepath.Join(root, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		p.paths = append(p.paths, path+"/", dir+"/")
		p.paths = append(p.paths, path, dir)
	}
	for _, v := range p.spec.Volumes {
		files := map[string]string{}
		switch {
		case v.ConfigMap != nil:
			files = configMaps[v.ConfigMap.Name]
			for _, item := range v.ConfigMap.Items {
				files = map[string]string{item.Path: p.secrets[item.Key]} // somebody else's
			}
		case v.Secret != nil:
			for _, item := range v.Secret.Items {
				files[item.Path] = p.secrets[item.Key]
			}
			if len(v.Secret.Items) == 0 {
				files = p.secrets
			}
		}
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(root, v.Name, name), []byte(content), 0o400); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The images' PATH.
	p.bin = filepath.Join(root, "bin")
	if err := os.Mkdir(p.bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"extproc": filepath.Join(bin, "extproc"), "envoy": tool("ENVOY", "envoy")} {
		if err := os.Symlink(path, filepath.Join(p.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for name, cmd := range p.running {
			cmd.Process.Kill()
			<-p.ended[name]
			if t.Failed() {
				t.Logf("%s said:\n%s", name, p.output[name])
			}
		}
	})
	return p
}

// here is a text of the pod as it is on this machine.
func (p *pod) here(s string) string { return strings.NewReplacer(p.paths...).Replace(s) }

// command is a container's process; command is what runs in it in place of its own, if anything.
func (p *pod) command(c container, command ...string) *exec.Cmd {
	p.t.Helper()
	env := []string{"PATH=" + p.bin}
	expand := []string{}
	for _, e := range c.Env {
		value := strings.NewReplacer(expand...).Replace(e.Value)
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil && e.ValueFrom.FieldRef.Path == "metadata.name" {
			value = "gw-0"
		}
		expand = append(expand, "$("+e.Name+")", value)
		env = append(env, e.Name+"="+p.here(value))
	}
	if command == nil {
		if command = slices.Concat(c.Command, c.Args); c.Command == nil {
			command = append([]string{"extproc"}, c.Args...) // the image's entrypoint
		}
	}
	for i, arg := range command {
		command[i] = p.here(arg)
	}
	cmd := exec.Command(filepath.Join(p.bin, command[0]), command[1:]...)
	cmd.Env = env
	return cmd
}

// run is a process from its start to its end.
func (p *pod) run(what string, cmd *exec.Cmd) {
	p.t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v\n%s", what, err, out)
	}
}

func (p *pod) begin(c container) {
	p.t.Helper()
	cmd, out := p.command(c), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("%s: %v", c.Name, err)
	}
	done := make(chan struct{})
	p.running[c.Name], p.ended[c.Name], p.output[c.Name] = cmd, done, out
	go func() { cmd.Wait(); close(done) }()
	p.passes(c.StartupProbe)
}

// passes waits for a probe, as the kubelet does.
func (p *pod) passes(b *probe) {
	p.t.Helper()
	eventually(p.t, patience, func() error {
		if b.TCP != nil {
			conn, err := net.Dial("tcp", p.ports[b.TCP.Port])
			if err == nil {
				conn.Close()
			}
			return err
		}
		a, err := do(p.t.Context(), http.MethodGet, "http://"+p.ports[b.GET.Port]+b.GET.Path, "", "")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("%s: %d %s", b.GET.Path, a.status, a.body)
		}
		return err
	})
}

// start runs init containers and sidecars in their order, and then the containers.
func (p *pod) start() {
	p.t.Helper()
	for _, c := range p.spec.InitContainers {
		if c.RestartPolicy == "Always" {
			p.begin(c)
			continue
		}
		p.run(c.Name, p.command(c))
	}
	for _, c := range p.spec.Containers {
		p.begin(c)
	}
	for _, c := range slices.Concat(p.spec.InitContainers, p.spec.Containers) {
		if c.ReadinessProbe != nil {
			p.passes(c.ReadinessProbe)
		}
		if c.LivenessProbe != nil {
			p.passes(c.LivenessProbe)
		}
	}
}

func (p *pod) alive(name string) bool {
	select {
	case <-p.ended[name]:
		return false
	default:
		return true
	}
}

// ends waits until a process that had its SIGTERM has ended.
func (p *pod) ends(name string) {
	p.t.Helper()
	select {
	case <-p.ended[name]:
	case <-p.t.Context().Done():
	}
	if state := p.running[name].ProcessState; !state.Success() {
		p.t.Errorf("%s ended with %v", name, state)
	}
}
