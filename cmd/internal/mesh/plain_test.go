package mesh

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"aisix/envoy"
	"aisix/envoy/envoytest"

	"go.yaml.in/yaml/v3"
)

type envoyVersion struct {
	version string
	folders map[string]string
}

// The Envoys whose wheels deploy/tools pins, and the folder of deploy/attach that the page names for
// each, by body mode.
var envoys = []envoyVersion{
	{"1.36.4", map[string]string{"buffered": "envoy-1.36"}},
	{"1.37.0", map[string]string{"buffered": "envoy-1.37"}},
	{"1.38.3", map[string]string{"buffered": "envoy-1.37", "full duplex": "envoy-1.38"}},
	{"1.39.3", map[string]string{"buffered": "envoy-1.37", "full duplex": "envoy-1.39"}},
	{newest, map[string]string{"buffered": "envoy-1.37", "full duplex": "envoy-1.39"}},
}

func plainCells() []cell {
	var all []cell
	for _, e := range envoys {
		for _, body := range slices.Sorted(maps.Keys(e.folders)) {
			for _, transport := range []string{"unix", "tcp"} {
				folder := e.folders[body]
				c := cell{
					Mesh: "plain", Envoy: e.version, Body: body, Transport: transport,
					needs:    []string{envoyBinary(e.version)},
					quick:    e.version == newest && body == "full duplex" && transport == "unix",
					start:    func(t *testing.T, a *attachment) { plain(t, a, folder) },
					removals: map[string]removal{},
					more:     []check{silentTarget},
				}
				for _, gone := range removed {
					c.removals[strings.Join(gone, " and ")] = removal{
						start:  func(t *testing.T, a *attachment) { plain(t, a, folder, gone...) },
						serves: len(gone) == 1 && slices.Contains([]string{"connection_manager.yaml", "the forward proxy's filter"}, gone[0]),
					}
				}
				all = append(all, c)
			}
		}
	}
	return all
}

// removed are the parts that somebody may take away again and leave the others.
var removed = [][]string{
	{"connection_manager.yaml"},
	{"the ext_proc filter"},
	{"the forward proxy's filter"},
	{"virtual_hosts.yaml"},
	{"clusters.yaml"},
	{"the ext_proc filter", "connection_manager.yaml"},
	{"the ext_proc filter", "the forward proxy's filter", "connection_manager.yaml"},
}

// plain pastes a folder's fragments into the site, but for the parts that are left out, and starts it.
func plain(t *testing.T, a *attachment, folder string, without ...string) {
	t.Helper()
	s := load(t, filepath.Join("testdata", "site.yaml"))
	for _, name := range slices.Sorted(maps.Keys(parts)) { // of the filters, ext_proc first
		if !slices.Contains(without, name) {
			parts[name](s, func(file string) node { return load(t, filepath.Join(root, "deploy", "attach", folder, file+".yaml")) })
		}
	}
	wish := func(file string) node { return load(t, filepath.Join(root, "deploy", "attach", file+".yaml")) }
	if !slices.Contains(without, "virtual_hosts.yaml") {
		forBrowsers(s, wish)
	}
	keepOutOfLog(s, wish)
	if slices.Contains(without, "clusters.yaml") {
		manager(s)["route_config"].(node)["validate_clusters"] = false // as where routes come by xDS
	}
	fragments := filepath.Join(root, "deploy", "attach", folder)
	if limit := filepath.Join(fragments, "listener.yaml"); exists(limit) {
		maps.Copy(listener(s), load(t, limit))
	}
	if runtime := filepath.Join(fragments, "runtime.yaml"); exists(runtime) {
		maps.Copy(s, load(t, runtime))
	}
	if len(without) == 0 {
		resources := s["static_resources"].(node)
		resources["listeners"] = append(resources["listeners"].([]any), load(t, filepath.Join(fragments, "egress.yaml"))["listeners"].([]any)...)
		a.egress = true
	}
	address := a.running
	if address == "" {
		address = a.extprocAddress(t)
		a.process = a.extproc(t, address, "AISIX_UPSTREAM__CA_FILE="+a.caFile, "AISIX_EGRESS__ADDRESS=unix:"+a.egressSocket())
	}
	e := envoytest.StartBinary(t, envoyBinary(a.Envoy), a.places(t, s, address))
	a.address, a.domain, a.owner = e.Address(t, "web"), "ai.example.com", "shop.example.com"
	a.log, a.guarded = e.Stdout, true
}

// parts are what the page adds to an Envoy, by name: each pastes fragments of one file.
var parts = map[string]func(s node, fragment func(file string) node){
	"connection_manager.yaml": func(s node, fragment func(string) node) {
		m, ours := manager(s), fragment("connection_manager")
		m["early_header_mutation_extensions"] = ours["early_header_mutation_extensions"]
		replies := m["local_reply_config"].(node)
		replies["mappers"] = append(ours["local_reply_config"].(node)["mappers"].([]any), replies["mappers"].([]any)...)
	},
	"the ext_proc filter": func(s node, fragment func(string) node) {
		beforeRouter(s, fragment("http_filters")["http_filters"].([]any)[0])
	},
	"the forward proxy's filter": func(s node, fragment func(string) node) {
		beforeRouter(s, fragment("http_filters")["http_filters"].([]any)[1])
	},
	"virtual_hosts.yaml": func(s node, fragment func(string) node) {
		routes := manager(s)["route_config"].(node)
		routes["virtual_hosts"] = append(routes["virtual_hosts"].([]any), fragment("virtual_hosts")["virtual_hosts"].([]any)...)
	},
	"clusters.yaml": func(s node, fragment func(string) node) {
		resources := s["static_resources"].(node)
		resources["clusters"] = append(resources["clusters"].([]any), fragment("clusters")["clusters"].([]any)...)
	},
}

// forBrowsers adds what pages of browsers need, as the page says.
func forBrowsers(s node, fragment func(string) node) {
	m := manager(s)
	m["http_filters"] = append(fragment("browsers/http_filters")["http_filters"].([]any), m["http_filters"].([]any)...)
	forBrowsersIn(m["route_config"].(node)["virtual_hosts"].([]any), fragment("browsers/virtual_hosts"))
}

func forBrowsersIn(hosts []any, fragment node) {
	more := first(fragment["virtual_hosts"])
	for _, v := range hosts {
		if v := v.(node); v["name"] == more["name"] {
			v["routes"] = append(more["routes"].([]any), v["routes"].([]any)...)
			maps.Copy(v["typed_per_filter_config"].(node), more["typed_per_filter_config"].(node))
		}
	}
}

// keepOutOfLog has the owner's log leave our requests to one of theirs.
func keepOutOfLog(s node, fragment func(string) node) {
	m := manager(s)
	logs := m["access_log"].([]any)
	maps.Copy(logs[0].(node), fragment("access-log/theirs"))
	m["access_log"] = append(logs, fragment("access-log/ours")["access_log"].([]any)...)
}

// beforeRouter adds a filter where the page says: last, before the router.
func beforeRouter(s node, filter any) {
	m := manager(s)
	filters := m["http_filters"].([]any)
	m["http_filters"] = slices.Insert(filters, len(filters)-1, filter)
}

// places puts this test's own addresses in: extproc's as the page says, the shop's, and a CA bundle
// that knows the recorder.
func (a *attachment) places(t *testing.T, s node, extproc string) []byte {
	t.Helper()
	b, err := yaml.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.ReadFile(envoy.SystemCAFile())
	if err != nil {
		t.Fatal(err)
	}
	private, err := os.ReadFile(a.caFile)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := envoy.CABundle(public, private)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "bundle.pem")
	if err := os.WriteFile(ca, bundle, 0o644); err != nil {
		t.Fatal(err)
	}
	var config any
	text := strings.NewReplacer("filename: "+envoy.DefaultCAFile, "filename: "+ca).Replace(string(b))
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	walk(config, func(m node) {
		pipe, isPipe := m["pipe"].(node)
		if isPipe && pipe["path"] == "/run/aisix/extproc.sock" {
			if path, unix := strings.CutPrefix(extproc, "unix:"); unix {
				pipe["path"] = path
			} else {
				delete(m, "pipe")
				m["socket_address"] = socketAddress(extproc)
			}
		}
		if isPipe && pipe["path"] == "/run/aisix/egress.sock" {
			pipe["path"] = a.egressSocket()
		}
		switch at, _ := m["socket_address"].(node); at["port_value"] {
		case 1:
			m["socket_address"] = socketAddress(a.shop.host())
		case 2:
			m["socket_address"] = socketAddress(a.authz.host())
		}
	})
	if b, err = yaml.Marshal(config); err != nil {
		t.Fatal(err)
	}
	return b
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }
