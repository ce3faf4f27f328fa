package envoy

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Envoy's own statistics are a page of its admin interface, beside others that stop it
// or show its configuration. What can be reached over a network is that page alone.

const (
	statistics      = "statistics"
	clusterAdmin    = "envoy_admin"
	statisticsPath  = "/stats/prometheus"
	statisticsAlias = "/metrics" // where scrapers look unasked
)

// statisticsListener asks the admin interface for that page, and for nothing else.
func statisticsListener(o Options) *listenerv3.Listener {
	manager := &hcmv3.HttpConnectionManager{
		StatPrefix:                   statistics,
		NormalizePath:                yes(),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_REJECT_REQUEST,
		CommonHttpProtocolOptions:    &corev3.HttpProtocolOptions{IdleTimeout: dur(o.IdleTimeout)},
		RequestTimeout:               dur(10 * time.Second),
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			Name:         statistics,
			VirtualHosts: []*routev3.VirtualHost{virtualHost(statistics, []string{"*"}, statisticsRoute(statisticsPath), statisticsRoute(statisticsAlias))},
		}},
		HttpFilters: []*hcmv3.HttpFilter{filter("envoy.filters.http.router", &routerv3.Router{})},
	}
	return &listenerv3.Listener{
		Name:    statistics,
		Address: address(o.StatisticsListen),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(manager)},
		}}}},
		// It is most wanted while callers take all there is.
		IgnoreGlobalConnLimit: true,
		BypassOverloadManager: o.since(37),
	}
}

func statisticsRoute(path string) *routev3.Route {
	return &routev3.Route{
		Match: &routev3.RouteMatch{
			PathSpecifier: &routev3.RouteMatch_Path{Path: path},
			Headers:       []*routev3.HeaderMatcher{header(":method", &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "GET"}})},
		},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: clusterAdmin},
			PrefixRewrite:    statisticsPath,
			Timeout:          dur(30 * time.Second),
		}},
	}
}

// adminCluster is Envoy's own admin interface.
func adminCluster(o Options) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 clusterAdmin,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       dur(time.Second),
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: clusterAdmin, Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address("unix:" + o.AdminSocket)}},
		}}}}},
	}
}
