package envoy

import (
	"bytes"
	"fmt"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// IstioProxy is where an EnvoyFilter puts the gateway.
type IstioProxy struct {
	Context   string            // "GATEWAY", or "SIDECAR_OUTBOUND": of those who call
	Namespace string            // of the EnvoyFilter, and of the pods
	Labels    map[string]string // of the pods
}

// patch is one of an EnvoyFilter's configPatches. Its value is a proto of Envoy's.
type patch struct {
	applyTo   string
	operation string
	match     map[string]any // beside the context
	value     proto.Message
}

const managerName = "envoy.filters.network.http_connection_manager"

// EnvoyFilter is what makes a proxy of Istio's the gateway for callers of domain, which a
// VirtualService answers with a 404: all that is left where the EnvoyFilter is gone.
// docs/attach-istio.md is the page on it.
func EnvoyFilter(o Options, domain string, p IstioProxy) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("envoy filter: %w", err)
	}
	host := attachedHost(o, domain)
	const jwt = "envoy.filters.http.jwt_authn"
	patches := []patch{
		{applyTo: "NETWORK_FILTER", operation: "MERGE", match: filterMatch(""), value: &listenerv3.Filter{
			Name: managerName,
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(&hcmv3.HttpConnectionManager{
				EarlyHeaderMutationExtensions: earlyMutation(append(waysOut(), keepRequestID(domain))),
				LocalReplyConfig:              repliesWithin(fmt.Sprintf("xds.virtual_host_name.startsWith(%q)", domain+":")),
			})},
		}},
		// A RequestAuthentication knows no hosts, and an API key of ours is no token of theirs.
		// An AuthorizationPolicy does, and stays in force.
		{applyTo: "VIRTUAL_HOST", operation: "MERGE", match: hostMatch(domain), value: &routev3.VirtualHost{
			TypedPerFilterConfig:   map[string]*anypb.Any{jwt: host.TypedPerFilterConfig[jwt]},
			RequestBodyBufferLimit: host.RequestBodyBufferLimit,
		}},
	}
	for _, f := range attachedFilters(o) {
		patches = append(patches, patch{applyTo: "HTTP_FILTER", operation: "INSERT_BEFORE", match: filterMatch("envoy.filters.http.router"), value: f})
	}
	patches = append(patches, first(domain, host.Routes)...)
	others := withCleaning(o, clusters(o))
	if ownBufferLimit(o) {
		others = append(others, nowhere())
	}
	for _, c := range others {
		if !isExtProc(c) { // EnvoyFilterExtProc
			patches = append(patches, patch{applyTo: "CLUSTER", operation: "ADD", value: c})
		}
	}
	return p.render(attached, 0, patches)
}

// EnvoyFilterBrowsers lets pages of o.AllowOrigins call, beside EnvoyFilter.
func EnvoyFilterBrowsers(o Options, domain string, p IstioProxy) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("envoy filter: %w", err)
	}
	fragments := forBrowsers(o)
	filters := fragments["http_filters.yaml"].(*hcmv3.HttpConnectionManager).HttpFilters
	host := fragments["virtual_hosts.yaml"].(*routev3.RouteConfiguration).VirtualHosts[0]
	patches := []patch{{applyTo: "VIRTUAL_HOST", operation: "MERGE", match: hostMatch(domain), value: &routev3.VirtualHost{TypedPerFilterConfig: host.TypedPerFilterConfig}}}
	for _, f := range filters {
		patches = append(patches, patch{applyTo: "HTTP_FILTER", operation: "INSERT_BEFORE", match: filterMatch(attachedProcessor), value: f})
	}
	return p.render(attached+"-browsers", 1, append(patches, first(domain, host.Routes)...))
}

// first puts routes before all others of a domain, in their order: each goes to the front.
func first(domain string, routes []*routev3.Route) []patch {
	var patches []patch
	for _, r := range slices.Backward(routes) {
		patches = append(patches, patch{applyTo: "HTTP_ROUTE", operation: "INSERT_FIRST", match: hostMatch(domain), value: r})
	}
	return patches
}

// EnvoyFilterExtProc is extproc for such a proxy: where o says or, with service, as a
// service of that name by mutual TLS, for which files of the proxy's own have the keys.
func EnvoyFilterExtProc(o Options, service string, p IstioProxy) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("envoy filter: %w", err)
	}
	var patches []patch
	for _, c := range clusters(o) {
		if !isExtProc(c) {
			continue
		}
		if service != "" {
			c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
			c.DnsLookupFamily = clusterv3.Cluster_V4_PREFERRED
			c.LoadAssignment.Endpoints[0].LbEndpoints[0].GetEndpoint().Address = &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: service, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 3002},
			}}}
			c.TransportSocket = socket(mutualTLS(service, "/etc/aisix/tls"))
		}
		patches = append(patches, patch{applyTo: "CLUSTER", operation: "ADD", value: c})
	}
	return p.render(attached+"-extproc", 0, patches)
}

// EnvoyFilterEgress adds a listener to such a proxy for what extproc calls itself, where they share
// a pod. Its clusters are EnvoyFilter's.
func EnvoyFilterEgress(o Options, p IstioProxy) ([]byte, error) {
	if err := o.checkMeshEgress(); err != nil {
		return nil, fmt.Errorf("envoy filter: %w", err)
	}
	return p.render(attached+"-egress", 0, []patch{{applyTo: "LISTENER", operation: "ADD", value: meshEgressListener(o, ClusterTLS, ClusterPlaintext)}})
}

func isExtProc(c *clusterv3.Cluster) bool { return c.Name == ClusterExtProc || c.Name == ClusterProbe }

// mutualTLS is how Envoy proves to extproc that it is its Envoy, with the files of a
// Kubernetes TLS secret.
func mutualTLS(service, dir string) *tlsv3.UpstreamTlsContext {
	return &tlsv3.UpstreamTlsContext{
		Sni: service,
		CommonTlsContext: &tlsv3.CommonTlsContext{
			TlsCertificates: []*tlsv3.TlsCertificate{{CertificateChain: file(dir + "/tls.crt"), PrivateKey: file(dir + "/tls.key")}},
			ValidationContextType: &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
				TrustedCa: file(dir + "/ca.crt"),
				MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{{
					SanType: tlsv3.SubjectAltNameMatcher_DNS,
					Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: service}},
				}},
			}},
			AlpnProtocols: []string{"h2"},
		},
	}
}

// filterMatch is the HTTP connection manager, or one of its filters.
func filterMatch(sub string) map[string]any {
	f := map[string]any{"name": managerName}
	if sub != "" {
		f["subFilter"] = map[string]any{"name": sub}
	}
	return map[string]any{"listener": map[string]any{"filterChain": map[string]any{"filter": f}}}
}

// hostMatch is the virtual host of a domain, on any port.
func hostMatch(domain string) map[string]any {
	return map[string]any{"routeConfiguration": map[string]any{"vhost": map[string]any{"domainName": domain}}}
}

// render writes the resource.
func (p IstioProxy) render(name string, priority int, patches []patch) ([]byte, error) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, c := range patches {
		value, err := node(c.value)
		if err != nil {
			return nil, err
		}
		match := map[string]any{"context": p.Context}
		for k, v := range c.match {
			match[k] = v
		}
		list.Content = append(list.Content, ordered{{"applyTo", c.applyTo}, {"match", match}, {"patch", ordered{{"operation", c.operation}, {"value", value}}}}.node())
	}
	spec := ordered{{"workloadSelector", map[string]any{"labels": p.Labels}}}
	if priority != 0 { // after the others
		spec = append(spec, [2]any{"priority", priority})
	}
	spec = append(spec, [2]any{"configPatches", list})
	resource := ordered{
		{"apiVersion", "networking.istio.io/v1alpha3"},
		{"kind", "EnvoyFilter"},
		{"metadata", map[string]any{"name": name, "namespace": p.Namespace}},
		{"spec", spec},
	}.node()
	resource.HeadComment = generated
	remark(resource)
	alias(resource, "", map[string]*yaml.Node{})
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(resource); err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}

// ordered is a mapping that keeps its order.
type ordered [][2]any

func (o ordered) node() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, kv := range o {
		var key, value yaml.Node
		_ = key.Encode(kv[0])
		if inner, ok := kv[1].(ordered); ok {
			value = *inner.node()
		} else if inner, ok := kv[1].(*yaml.Node); ok {
			value = *inner
		} else if err := value.Encode(kv[1]); err != nil {
			panic(err) // texts, lists and mappings only
		}
		n.Content = append(n.Content, &key, &value)
	}
	return n
}
