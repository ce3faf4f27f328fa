package envoy

import (
	"fmt"
	"slices"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	upstreamcodecv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
)

// attached is the name of our virtual host, in an Envoy that has others.
const attached = "aisix"

// Attachment is what to add to an Envoy that somebody already runs, by file name:
// each file holds lists to add to those of the same name. domain is where callers
// will find the gateway there. deploy/attach/README.md is the page on it.
func Attachment(o Options, domain string) (map[string][]byte, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("envoy attachment: %w", err)
	}
	fragments := map[string]proto.Message{
		"connection_manager.yaml": &hcmv3.HttpConnectionManager{
			// Their traffic goes through this too: nothing but our own headers is taken off it.
			EarlyHeaderMutationExtensions: earlyMutation(waysOut()),
			LocalReplyConfig:              repliesOf(attached),
		},
		"http_filters.yaml": &hcmv3.HttpConnectionManager{
			HttpFilters: []*hcmv3.HttpFilter{disabled(filter(processorName, withAttributes(processor(o)))), forwardProxy(o)},
		},
		"virtual_hosts.yaml": &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{
			virtualHost(attached, []string{domain}, withHost(gateway(o))...),
		}},
		"clusters.yaml": &bootstrapv3.Bootstrap_StaticResources{Clusters: withCleaning(clusters(o))},
	}
	if o.BodyMode == Buffered {
		fragments["listener.yaml"] = &listenerv3.Listener{PerConnectionBufferLimitBytes: bufferLimit(o)}
	}
	files := make(map[string][]byte)
	for name, m := range fragments {
		b, err := render(m)
		if err != nil {
			return nil, err
		}
		files[name] = b
	}
	return files, nil
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

// withCleaning removes from what goes to Bedrock what leads the way out and what
// their router may add, last of all: the router has read the host by then.
func withCleaning(clusters []*clusterv3.Cluster) []*clusterv3.Cluster {
	for _, c := range clusters {
		if c.Name == ClusterTLS || c.Name == ClusterPlaintext {
			c.TypedExtensionProtocolOptions = protocol(toBedrock([]*hcmv3.HttpFilter{
				filter("envoy.filters.http.header_mutation", &headermutationv3.HeaderMutation{
					Mutations: &headermutationv3.Mutations{RequestMutations: removePrefixes("x-aisix-", "x-envoy-")},
				}),
				filter("envoy.filters.http.upstream_codec", &upstreamcodecv3.UpstreamCodec{}),
			}...))
		}
	}
	return clusters
}

// repliesOf are Envoy's own answers for the virtual host of that name, and for no
// other.
func repliesOf(name string) *hcmv3.LocalReplyConfig {
	c := localReplies(requestID())
	within := cel(fmt.Sprintf("xds.virtual_host_name == %q", name))
	for _, m := range c.Mappers {
		m.Filter = both(within, m.Filter)
	}
	return c
}
