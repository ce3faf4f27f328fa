package mesh

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"aisix/cmd/internal/stack"
	"aisix/envoy/envoytest"

	"go.yaml.in/yaml/v3"
)

// xdsCells are the plain ones where filter, routes and clusters come from the example of a control
// plane, cmd/internal/xds, which serves the fragments as they stand.
func xdsCells() []cell {
	var all []cell
	for _, c := range plainCells() {
		folder := envoys[slices.IndexFunc(envoys, func(e envoyVersion) bool { return e.version == c.Envoy })].folders[c.Body]
		c.Mesh, c.quick = "xDS", false
		c.start = func(t *testing.T, a *attachment) { xds(t, a, folder) }
		c.removals = map[string]removal{
			"the ext_proc filter's resource": {start: func(t *testing.T, a *attachment) { xds(t, a, folder, "aisix.ext_proc") }},
			"both filters' resources":        {start: func(t *testing.T, a *attachment) { xds(t, a, folder, "aisix.ext_proc", "aisix.forward_proxy") }},
			"virtual_hosts.yaml":             {start: func(t *testing.T, a *attachment) { xds(t, a, folder, "virtual_hosts.yaml") }},
			"clusters.yaml":                  {start: func(t *testing.T, a *attachment) { xds(t, a, folder, "clusters.yaml") }},
			"egress.yaml":                    {start: func(t *testing.T, a *attachment) { xds(t, a, folder, "egress.yaml") }, serves: true},
		}
		c.more = []check{silentTarget, {"the filter changes and goes under a stream", changesUnderStream}}
		all = append(all, c)
	}
	return all
}

// controlPlane is a running cmd/internal/xds.
type controlPlane struct {
	process   *os.Process
	fragments string // the folder of ours that it serves
	envoy     *envoytest.Envoy
}

// xds starts a control plane that serves the owner's resources and a folder of ours, but for those
// that are left out, and an Envoy that asks it.
func xds(t *testing.T, a *attachment, folder string, without ...string) {
	t.Helper()
	site := load(t, filepath.Join("testdata", "site.yaml"))
	m, resources := manager(site), site["static_resources"].(node)
	address := a.extprocAddress(t)
	a.process = a.extproc(t, address, "AISIX_UPSTREAM__CA_FILE="+a.caFile, "AISIX_EGRESS__ADDRESS=unix:"+a.egressSocket())

	// The owner's own resources, and ours.
	own, ours := filepath.Join(a.dir, "theirs"), filepath.Join(a.dir, "ours")
	clusters := resources["clusters"].([]any)
	isAuthz := func(c any) bool { return c.(node)["name"] == "authz" } // its filters name it at start
	a.file(t, own, "clusters.yaml", node{"clusters": slices.DeleteFunc(slices.Clone(clusters), isAuthz)}, address)
	a.file(t, own, "virtual_hosts.yaml", node{"virtual_hosts": m["route_config"].(node)["virtual_hosts"]}, address)
	fragment := func(name string) node { return load(t, filepath.Join(root, "deploy", "attach", folder, name)) }
	for _, name := range []string{"clusters.yaml", "virtual_hosts.yaml", "http_filters.yaml", "egress.yaml"} {
		file := fragment(name)
		if name == "http_filters.yaml" {
			file["http_filters"] = slices.DeleteFunc(file["http_filters"].([]any), func(f any) bool { return slices.Contains(without, f.(node)["name"].(string)) })
		}
		if name == "virtual_hosts.yaml" {
			forBrowsersIn(file["virtual_hosts"].([]any), load(t, filepath.Join(root, "deploy/attach/browsers/virtual_hosts.yaml")))
		}
		if !slices.Contains(without, name) {
			a.file(t, ours, name, file, address)
		}
	}
	server, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	a.control = &controlPlane{process: startControlPlane(t, server, own, ours), fragments: ours}

	// The start file: the listener, and where the rest comes from.
	resources["clusters"] = []any{clusters[slices.IndexFunc(clusters, isAuthz)], xdsCluster(server)}
	delete(m, "route_config")
	ads := node{"ads": node{}, "resource_api_version": "V3"}
	m["rds"] = node{"route_config_name": "site", "config_source": ads}
	site["node"] = node{"id": "edge", "cluster": "edge"}
	site["dynamic_resources"] = node{
		"cds_config": ads,
		"lds_config": ads,
		"ads_config": node{"api_type": "DELTA_GRPC", "transport_api_version": "V3", "grpc_services": []any{node{"envoy_grpc": node{"cluster_name": "xds"}}}},
	}
	parts["connection_manager.yaml"](site, func(file string) node { return fragment(file + ".yaml") })
	for _, f := range load(t, filepath.Join(root, "deploy", "attach", "xds", "http_filters.yaml"))["http_filters"].([]any) {
		f.(node)["config_discovery"].(node)["config_source"].(node)["initial_fetch_timeout"] = "0.5s" // what is not served is waited for so long
		beforeRouter(site, f)
	}
	wish := func(file string) node { return load(t, filepath.Join(root, "deploy", "attach", file+".yaml")) }
	m["http_filters"] = append(wish("browsers/http_filters")["http_filters"].([]any), m["http_filters"].([]any)...)
	keepOutOfLog(site, wish)
	if limit := filepath.Join(root, "deploy", "attach", folder, "listener.yaml"); exists(limit) {
		maps.Copy(listener(site), load(t, limit))
	}
	if runtime := filepath.Join(root, "deploy", "attach", folder, "runtime.yaml"); exists(runtime) {
		maps.Copy(site, load(t, runtime))
	}
	e := envoytest.StartBinary(t, envoyBinary(a.Envoy), a.places(t, site, address))
	a.control.envoy = e
	a.address, a.domain, a.owner = e.Address(t, "web"), "ai.example.com", "shop.example.com"
	a.log, a.guarded, a.egress = e.Stdout, true, true
	if len(without) == 0 {
		a.awaitEgress(t)
	}
	eventually(t, func() error { // clusters and routes have come
		response, err := client.Do(a.request(t, t.Context(), http.MethodGet, a.owner, "/", "", theirs()...))
		if err != nil {
			return err
		}
		if got := read(t, response); got.status != 200 {
			return fmt.Errorf("the owner's own site: %v", got)
		}
		return nil
	})
	a.shop.take()
}

// file writes resources with this test's own places.
func (a *attachment) file(t *testing.T, folder, name string, content node, extproc string) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name), a.places(t, content, extproc), 0o644); err != nil {
		t.Fatal(err)
	}
}

func startControlPlane(t *testing.T, address string, folders ...string) *os.Process {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "xds"), append([]string{"-address", address}, folders...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			fmt.Fprintln(&said, lines.Text())
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-drained
		cmd.Wait()
		if t.Failed() {
			t.Logf("the control plane's log:\n%s", said.String())
		}
	})
	eventually(t, func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	})
	return cmd.Process
}

func xdsCluster(address string) node {
	return node{
		"name": "xds", "type": "STATIC", "connect_timeout": "1s",
		"load_assignment": node{"cluster_name": "xds", "endpoints": []any{node{"lb_endpoints": []any{node{"endpoint": node{"address": node{"socket_address": socketAddress(address)}}}}}}},
		"typed_extension_protocol_options": node{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": node{
			"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
			"explicit_http_config": node{"http2_protocol_options": node{}},
		}},
	}
}

// serve has the control plane serve the filters that change leaves of ours.
func (a *attachment) serve(t *testing.T, change func(filters []any) []any) {
	t.Helper()
	path := filepath.Join(a.control.fragments, "http_filters.yaml")
	file := load(t, path)
	file["http_filters"] = change(file["http_filters"].([]any))
	b, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := a.control.process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// changesUnderStream has the control plane change the ext_proc filter, take it away and give it
// again, while a stream runs: it is not cut, and what comes meanwhile is refused.
func changesUnderStream(t *testing.T, a *attachment, c *caller) {
	r := a.request(t, t.Context(), http.MethodPost, a.domain, "/v1/chat/completions", ask(c.plain, "sim:words=40 sim:every=100ms Tell me a story.", true), "Authorization", "Bearer "+c.key)
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	next := func(prefix string) {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), prefix) {
				return
			}
		}
		t.Fatalf("the stream was cut: %v", lines.Err())
	}
	next("data: ")
	reloads := func() int {
		return a.control.envoy.Stat(t, "extension_config_discovery.http_filter.aisix.ext_proc.config_reload")
	}
	before := reloads()
	a.serve(t, func(fs []any) []any {
		fs[0].(node)["typed_config"].(node)["message_timeout"] = "31s"
		return fs
	})
	eventually(t, func() error {
		if reloads() == before {
			return fmt.Errorf("%d reloads", before)
		}
		return nil
	})
	if got := c.chat(t, c.plain, "Hello"); got.status != 200 {
		t.Errorf("with the filter as it is now: %v", got)
	}
	next("data: ")

	var gone any
	a.serve(t, func(fs []any) []any { gone = fs[0]; return fs[1:] })
	a.bedrock.take()
	a.shop.take()
	refused := func() error {
		got := c.chat(t, c.plain, "Hello")
		if got.status != 500 && got.status != 503 {
			return fmt.Errorf("without the filter: %v", got)
		}
		return nil
	}
	eventually(t, refused)
	c.chat(t, c.plain, "Hello").wantError(t, 500, "internal_error")
	a.bedrock.take()
	leaksNothing(t, a, c, false)
	next("data: ")

	a.serve(t, func(fs []any) []any { return append([]any{gone}, fs...) })
	eventually(t, func() error {
		if got := c.chat(t, c.plain, "Hello"); got.status != 200 {
			return fmt.Errorf("with the filter again: %v", got)
		}
		return nil
	})
	next("data: [DONE]")
}
