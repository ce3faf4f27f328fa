package envoy

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	dfpfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_forward_proxy/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// routes leads to Bedrock only what carries extproc's headers, the egress and the
// host. Everything else is an error that Envoy makes by itself, so that nothing
// leaves, whatever happens to the ext_proc filter.
//
// That filter is off but where a route enables it. Envoy runs its answers to
// broken HTTP (400, 431) through every filter that is on, and closes the
// connection before extproc has let such an answer pass: the caller would see
// nothing at all (envoy #29440). Such a request has no route. Refused upgrades
// have one, which leaves extproc out.
//
// Routes are looked up twice: for the request as the caller sent it, which never
// has those headers, and again after extproc has answered. The host of the request
// is the caller's both times, so that the second look ends in the virtual host of
// the first, in an Envoy that has others too.
func routes(o Options) *routev3.RouteConfiguration {
	all := virtualHost("all", []string{"*"}, append([]*routev3.Route{connect()}, gateway(o)...)...)
	return &routev3.RouteConfiguration{Name: "routes", VirtualHosts: []*routev3.VirtualHost{all}}
}

// gateway is the routes of the gateway itself, in an Envoy of ours or another's.
func gateway(o Options) []*routev3.Route {
	return append(append(append([]*routev3.Route{upgrade()}, egresses(o)...), preflight(o)...), probe(o), ask())
}

func virtualHost(name string, domains []string, routes ...*routev3.Route) *routev3.VirtualHost {
	return &routev3.VirtualHost{Name: name, Domains: domains, Routes: routes}
}

func connect() *routev3.Route {
	return &routev3.Route{
		Name:   "connect",
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_ConnectMatcher_{ConnectMatcher: &routev3.RouteMatch_ConnectMatcher{}}},
		Action: directResponse(405),
	}
}

func upgrade() *routev3.Route {
	return &routev3.Route{
		Name: "upgrade",
		Match: anyPath(&routev3.HeaderMatcher{
			Name:                 "upgrade",
			HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true},
		}),
		Action: directResponse(405),
	}
}

// The routes of which extproc is asked for calls: the first look-up's and, with the
// egress behind it, the second's.
const (
	routeAsk    = "nothing"
	routeEgress = "egress_"
)

// ask is the route of every request from outside: extproc answers it, or sends it
// on by an egress.
func ask() *routev3.Route {
	return &routev3.Route{Name: routeAsk, Match: anyPath(), Action: directResponse(404), TypedPerFilterConfig: asking()}
}

// probe is the route of /livez and /readyz, which have their own share of extproc.
func probe(o Options) *routev3.Route {
	return &routev3.Route{
		Name: "probe",
		Match: &routev3.RouteMatch{
			PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: "/livez|/readyz"}},
			Headers:       []*routev3.HeaderMatcher{header(":method", matching("GET|HEAD"))},
		},
		Action:               directResponse(404),
		TypedPerFilterConfig: askingBy(&filterv3.ExtProcOverrides{GrpcService: grpcService(o, ClusterProbe)}),
	}
}

// asking turns the ext_proc filter on.
func asking() map[string]*anypb.Any { return askingBy(&filterv3.ExtProcOverrides{}) }

func askingBy(o *filterv3.ExtProcOverrides) map[string]*anypb.Any {
	return map[string]*anypb.Any{processorName: pack(&routev3.FilterConfig{
		Config: pack(&filterv3.ExtProcPerRoute{Override: &filterv3.ExtProcPerRoute_Overrides{Overrides: o}}),
	})}
}

// egresses are the ways out. They ask extproc too: should a caller's own headers
// get this far, extproc's answer still comes first, and replaces them.
func egresses(o Options) []*routev3.Route {
	again := unconnected(o)
	return []*routev3.Route{egress(EgressTLS, ClusterTLS, again), egress(EgressPlaintext, ClusterPlaintext, again)}
}

func directResponse(status uint32) *routev3.Route_DirectResponse {
	return &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: status}}
}

func anyPath(headers ...*routev3.HeaderMatcher) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}, Headers: headers}
}

func egress(value, cluster string, again *routev3.RetryPolicy) *routev3.Route {
	return &routev3.Route{
		Name: routeEgress + value,
		Match: anyPath(
			header(EgressHeader, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: value}}),
			// One host: without it the forward proxy would go to the caller's.
			header(HostHeader, matching("[^,]+")),
		),
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
			Timeout:          &durationpb.Duration{}, // off: a model's own timeout is extproc's to watch
			RetryPolicy:      again,
		}},
		// What a caller sent and Envoy added that AWS has no use for; extproc removes the
		// rest. Never authorization: that is the signature by now.
		RequestHeadersToRemove: []string{
			EgressHeader, HostHeader, RequestIDHeader, "x-request-id", "x-forwarded-for", "x-forwarded-proto",
			"x-envoy-external-address", "x-envoy-internal",
			"x-api-key", "api-key", "cookie", "proxy-authorization",
		},
		// What says that Envoy answered by itself, no upstream says.
		ResponseHeadersToRemove: []string{DetailsHeader},
		TypedPerFilterConfig:    leaving(),
	}
}

// unconnected tries once more what never reached the upstream: a body that did may not go twice.
// For that Envoy keeps every body, up to 1 MiB, until its answer has ended, however long that
// streams; extproc, where it can try by itself, until the answer has begun.
func unconnected(o Options) *routev3.RetryPolicy {
	if o.Reconnects {
		return nil
	}
	return &routev3.RetryPolicy{RetryOn: "connect-failure,refused-stream", NumRetries: wrapperspb.UInt32(1)}
}

// leaving asks extproc, and has the forward proxy take its host from extproc's
// header: the host that it resolves and connects to, that SNI and certificate
// follow, and that goes out.
func leaving() map[string]*anypb.Any {
	c := asking()
	c[forwardProxyName] = toNamedHost()
	return c
}

// toNamedHost has the forward proxy take its host from the header.
func toNamedHost() *anypb.Any {
	return pack(&dfpfilterv3.PerRouteConfig{
		HostRewriteSpecifier: &dfpfilterv3.PerRouteConfig_HostRewriteHeader{HostRewriteHeader: HostHeader},
	})
}

func matching(regex string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: regex}}}
}

func header(name string, value *matcherv3.StringMatcher) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: value}}
}
