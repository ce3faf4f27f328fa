package envoy

import (
	"fmt"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// What an Envoy of somebody else's takes beside an attachment where its owner wants it.

const (
	attachedOrigins  = "aisix.origins"
	attachedBrowsers = "aisix.browsers"
)

// forBrowsers lets pages of o.AllowOrigins call: two filters before ours, and in our
// virtual host the route of preflights, before the others, and what turns the filters on.
func forBrowsers(o Options) map[string]proto.Message {
	origins := remember(o)[0]
	origins.Name = attachedOrigins
	return map[string]proto.Message{
		"http_filters.yaml": &hcmv3.HttpConnectionManager{HttpFilters: []*hcmv3.HttpFilter{
			origins,
			disabled(filter(attachedBrowsers, &headermutationv3.HeaderMutation{})),
		}},
		"virtual_hosts.yaml": &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{{
			Name:   attached,
			Routes: preflight(o),
			TypedPerFilterConfig: map[string]*anypb.Any{
				attachedBrowsers: pack(&routev3.FilterConfig{Config: pack(&headermutationv3.HeaderMutationPerRoute{
					Mutations: &headermutationv3.Mutations{ResponseMutations: toOrigins(o)},
				})}),
			},
		}}},
	}
}

// ownLog is a log of our virtual host's requests that has no header of a caller's or of
// AWS's in it, and the filter that keeps them out of the owner's: his format may show a
// header that holds a signature by the time that he writes it.
func ownLog() map[string]proto.Message {
	log := accessLog(Defaults())
	log.Filter = cel(fmt.Sprintf("xds.virtual_host_name == %q", attached))
	return map[string]proto.Message{
		"ours.yaml": &hcmv3.HttpConnectionManager{AccessLog: []*accesslogv3.AccessLog{log}},
		"theirs.yaml": &accesslogv3.AccessLog{
			Filter: cel(fmt.Sprintf(`!("virtual_host_name" in xds) || xds.virtual_host_name != %q`, attached)),
		},
	}
}

// discovered are our two filters where an xDS server gives their configuration (ECDS): the
// fragments' filters, as resources of those names. As long as it has not, or has taken them
// away, requests of our virtual host are refused, and others know nothing of it.
func discovered() map[string]proto.Message {
	from := func(name, typeURL string) *hcmv3.HttpFilter {
		return disabled(&hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{
			ConfigSource: &corev3.ConfigSource{
				ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
				ResourceApiVersion:    corev3.ApiVersion_V3,
				InitialFetchTimeout:   dur(5 * time.Second), // the listener waits no longer for it
			},
			TypeUrls: []string{typeURL},
		}}})
	}
	fs := attachedFilters(Defaults())
	return map[string]proto.Message{"http_filters.yaml": &hcmv3.HttpConnectionManager{HttpFilters: []*hcmv3.HttpFilter{
		from(attachedProcessor, fs[0].GetTypedConfig().GetTypeUrl()), from(attachedForwardProxy, fs[1].GetTypedConfig().GetTypeUrl()),
	}}}
}
