package envoy

import (
	"fmt"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
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
			HttpFilters: []*hcmv3.HttpFilter{disabled(filter(processorName, processor(o))), forwardProxy(o)},
		},
		"virtual_hosts.yaml": &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{
			virtualHost(attached, []string{domain}, gateway(o)...),
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

// repliesOf are Envoy's own answers for the virtual host of that name, and for no
// other.
func repliesOf(name string) *hcmv3.LocalReplyConfig {
	c := localReplies()
	within := cel(fmt.Sprintf("xds.virtual_host_name == %q", name))
	for _, m := range c.Mappers {
		m.Filter = &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{
			AndFilter: &accesslogv3.AndFilter{Filters: []*accesslogv3.AccessLogFilter{within, m.Filter}},
		}}
	}
	return c
}
