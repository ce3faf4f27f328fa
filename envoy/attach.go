package envoy

import (
	"fmt"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
)

// egressDomains are the hosts of Bedrock's public, FIPS and VPC endpoints. Routes
// are looked up once more under the host that extproc sets, so each host that it
// may set needs a virtual host with the ways out.
var egressDomains = []string{"bedrock-runtime.*", "bedrock-runtime-fips.*", "*.vpce.amazonaws.com"}

// attached is what the names of our virtual hosts begin with, in an Envoy that
// has others.
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
			// Their traffic goes through this too: nothing but our own header is taken off it.
			EarlyHeaderMutationExtensions: earlyMutation([]*mutationv3.HeaderMutation{remove(EgressHeader)}),
			LocalReplyConfig:              repliesOf(attached),
		},
		"http_filters.yaml": &hcmv3.HttpConnectionManager{
			HttpFilters: []*hcmv3.HttpFilter{disabled(filter(processorName, processor(o))), forwardProxy(o)},
		},
		"virtual_hosts.yaml": &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{
			virtualHost(attached, []string{domain}, upgrade(), ask()),
			virtualHost(attached+"_egress", egressDomains, egresses()...),
		}},
		"clusters.yaml": &bootstrapv3.Bootstrap_StaticResources{Clusters: clusters(o)},
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

// repliesOf are Envoy's own answers for the virtual hosts whose names begin so,
// and for no others.
func repliesOf(prefix string) *hcmv3.LocalReplyConfig {
	c := localReplies()
	within := cel(fmt.Sprintf("xds.virtual_host_name.startsWith(%q)", prefix))
	for _, m := range c.Mappers {
		m.Filter = &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{
			AndFilter: &accesslogv3.AndFilter{Filters: []*accesslogv3.AccessLogFilter{within, m.Filter}},
		}}
	}
	return c
}
