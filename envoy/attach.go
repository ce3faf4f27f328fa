package envoy

import (
	"fmt"
	"regexp"
	"slices"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Names of ours in an Envoy that has others: of the virtual host, and of the filters, since
// a filter of Envoy's own name may be there already, and what a route says goes to all of
// one name.
const (
	attached             = "aisix"
	attachedProcessor    = "aisix.ext_proc"
	attachedForwardProxy = "aisix.forward_proxy"

	clusterNothing = "aisix_nothing"
)

// Attachment is what to add to an Envoy that somebody already runs, by file name:
// each file holds lists to add to those of the same name. domain is where callers
// will find the gateway there. docs/attach.md is the page on it.
func Attachment(o Options, domain string) (map[string][]byte, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("envoy attachment: %w", err)
	}
	files := make(map[string][]byte)
	for name, m := range attachment(o, domain) {
		b, err := render(m)
		if err != nil {
			return nil, err
		}
		files[name] = b
	}
	return files, nil
}

func attachment(o Options, domain string) map[string]proto.Message {
	all := withCleaning(o, clusters(o))
	if ownBufferLimit(o) {
		all = append(all, nowhere())
	}
	fragments := map[string]proto.Message{
		"connection_manager.yaml": &hcmv3.HttpConnectionManager{
			// Their traffic goes through this too: nothing but our own headers is taken off it.
			EarlyHeaderMutationExtensions: earlyMutation(append(waysOut(), keepRequestID(domain))),
			LocalReplyConfig:              repliesOf(attached),
			SchemeHeaderTransformation:    ofUpstream(o),
		},
		"http_filters.yaml":  &hcmv3.HttpConnectionManager{HttpFilters: attachedFilters(o)},
		"virtual_hosts.yaml": &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{attachedHost(o, domain)}},
		"clusters.yaml":      &bootstrapv3.Bootstrap_StaticResources{Clusters: all},
	}
	if o.Egress != "" {
		fragments["egress.yaml"] = &bootstrapv3.Bootstrap_StaticResources{Listeners: []*listenerv3.Listener{egressListener(o)}}
	}
	if o.BodyMode == Buffered && !ownBufferLimit(o) {
		fragments["listener.yaml"] = &listenerv3.Listener{PerConnectionBufferLimitBytes: bufferLimit(o)}
	}
	if runtime := runtimeLayer(o); runtime != nil {
		fragments["runtime.yaml"] = &bootstrapv3.Bootstrap{LayeredRuntime: runtime}
	}
	return fragments
}

func attachedFilters(o Options) []*hcmv3.HttpFilter {
	// Both are off but in our virtual host: others' requests pass neither.
	fs := []*hcmv3.HttpFilter{disabled(filter(attachedProcessor, withAttributes(processor(o)))), disabled(forwardProxy(o))}
	fs[1].Name = attachedForwardProxy
	return fs
}

// attachedHost is the virtual host of the gateway, whatever port callers name.
func attachedHost(o Options, domain string) *routev3.VirtualHost {
	host := virtualHost(attached, []string{domain, domain + ":*"}, withLock(withHost(withNames(gateway(o))))...)
	host.TypedPerFilterConfig = withoutTheirs()
	host.TypedPerFilterConfig[attachedForwardProxy] = pack(&routev3.FilterConfig{Config: leaving()[forwardProxyName]})
	if ownBufferLimit(o) {
		host.RequestBodyBufferLimit = wrapperspb.UInt64(uint64(o.MaxRequestBytes))
		for _, r := range host.Routes {
			if r.Name == "nothing" {
				r.Action = &routev3.Route_Route{Route: &routev3.RouteAction{
					ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: clusterNothing},
				}}
			}
		}
	}
	return host
}

// ownBufferLimit reports whether bodies are buffered, and our virtual host can say how far:
// the listener's limit stays the owner's own then. A direct response has no such limit, so
// that a cluster of no endpoints is what leads nowhere there. Envoy 1.36 knows the field
// and does not go by it: its whole listener has to take our bodies.
func ownBufferLimit(o Options) bool { return o.BodyMode == Buffered && o.since(37) }

// nowhere is a cluster without endpoints.
func nowhere() *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 clusterNothing,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment:       &endpointv3.ClusterLoadAssignment{ClusterName: clusterNothing},
	}
}

// Of another's connection manager and filter chain nothing is known. So the fragments
// have what the Envoy of our own can do without, and pays for at each request.

// withAttributes has p say who calls, and which answers are Envoy's own. Our own
// connection manager does so in x-envoy-external-address, which a caller of theirs may
// set himself, and in DetailsHeader, which nothing of ours takes off there.
func withAttributes(p *filterv3.ExternalProcessor) *filterv3.ExternalProcessor {
	p.RequestAttributes = []string{"source.address"}
	p.ResponseAttributes = []string{"response.code_details"}
	return p
}

// withNames has the routes speak to our ext_proc filter by the name that it has there. To
// the forward proxy the virtual host speaks: the filters of a request are chosen by the
// route that it has at first, which is no way out.
func withNames(routes []*routev3.Route) []*routev3.Route {
	for _, r := range routes {
		if c, asks := r.TypedPerFilterConfig[processorName]; asks {
			r.TypedPerFilterConfig = map[string]*anypb.Any{attachedProcessor: c}
		}
	}
	return routes
}

// withHost has the ways out rewrite the host as the forward proxy has done (see
// leaving): in an Envoy that lacks that filter, or has it in a wrong place, the
// request would go to the caller's host without this. A route removes headers before
// it reads the host's: the cluster removes that one.
func withHost(routes []*routev3.Route) []*routev3.Route {
	for _, r := range routes {
		if out := r.GetRoute(); out != nil {
			out.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteHeader{HostRewriteHeader: HostHeader}
			r.RequestHeadersToRemove = slices.DeleteFunc(r.RequestHeadersToRemove, func(name string) bool { return name == HostHeader })
		}
	}
	return routes
}

// withLock opens the ways out only where our ext_proc filter has asked extproc about the
// request's headers, and had its answer: what that filter keeps of each request says so
// ("rh:", then how long it took, and gRPC's status). A caller can write any header, but not
// that. So the routes lead nowhere where somebody has taken the filter away and left them,
// even if the early mutation is gone as well.
func withLock(routes []*routev3.Route) []*routev3.Route {
	for _, r := range routes {
		if r.GetRoute() != nil {
			r.Match.FilterState = []*matcherv3.FilterStateMatcher{{
				Key:     attachedProcessor,
				Matcher: &matcherv3.FilterStateMatcher_StringMatch{StringMatch: matching("rh:[0-9]+:0(,.*)?")},
			}}
		}
	}
	return routes
}

// withoutTheirs leaves the owner's filters out that know his users and not our callers, who
// bring an API key of the gateway's. A name that he has not is no error.
func withoutTheirs() map[string]*anypb.Any {
	off := make(map[string]*anypb.Any)
	for _, name := range []string{"jwt_authn", "ext_authz", "rbac", "oauth2", "basic_auth", "api_key_auth"} {
		off["envoy.filters.http."+name] = pack(&routev3.FilterConfig{Disabled: true})
	}
	return off
}

// keepRequestID saves what callers say in x-request-id, before their connection manager
// writes its own there. It does so in our virtual host only.
func keepRequestID(domain string) *mutationv3.HeaderMutation {
	host := "^" + regexp.QuoteMeta(domain) + "(:[0-9]+)?$"
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
		Header: &corev3.HeaderValue{Key: RequestIDHeader, Value: fmt.Sprintf(
			`%%CEL(request.host.matches(%q) && "x-request-id" in request.headers ? request.headers["x-request-id"] : "")%%`, host)},
		AppendAction: corev3.HeaderValueOption_ADD_IF_ABSENT,
	}}}
}

// withCleaning removes from what goes to Bedrock what leads the way out and what
// their router may add, last of all: the router has read the host by then.
func withCleaning(o Options, clusters []*clusterv3.Cluster) []*clusterv3.Cluster {
	for _, c := range clusters {
		if c.Name == ClusterTLS || c.Name == ClusterPlaintext {
			c.TypedExtensionProtocolOptions = protocol(toBedrock(o, c.Name, cleaning()...))
		}
	}
	return clusters
}

// repliesOf are Envoy's own answers for the virtual host of that name, and for no
// other.
func repliesOf(name string) *hcmv3.LocalReplyConfig {
	return repliesWithin(fmt.Sprintf("xds.virtual_host_name == %q", name))
}

// repliesWithin are those where an expression holds.
func repliesWithin(expression string) *hcmv3.LocalReplyConfig {
	c := localReplies(nil, true)
	// Where a cluster of no endpoints leads nowhere, the answer is that of a direct response.
	lost := reply{filter: both(flags("UH"), cel(`xds.route_name == "nothing"`)), status: 404, kind: "invalid_request_error", message: "no route matches this request"}
	c.Mappers = slices.Insert(c.Mappers, 1, mappers(lost, nil)...)
	within := cel(expression)
	for _, m := range c.Mappers {
		m.Filter = both(within, m.Filter)
	}
	return c
}
