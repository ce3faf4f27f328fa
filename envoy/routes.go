package envoy

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// routes leads to Bedrock only what carries extproc's egress header. Everything
// else is a 404 that Envoy makes by itself, so that nothing leaves, whatever
// happens to the ext_proc filter.
func routes(o Options) *routev3.RouteConfiguration {
	all := &routev3.VirtualHost{
		Name:    "all",
		Domains: []string{"*"},
		Routes: []*routev3.Route{
			egress(EgressTLS, ClusterTLS),
			egress(EgressPlaintext, ClusterPlaintext),
			{
				Name:  "nothing",
				Match: anyPath(),
				Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
					Status: 404,
				}},
			},
		},
	}
	if o.BodyMode == Buffered {
		all.RequestBodyBufferLimit = wrapperspb.UInt64(uint64(o.MaxRequestBytes))
	}
	return &routev3.RouteConfiguration{Name: "callers", VirtualHosts: []*routev3.VirtualHost{all}}
}

func anyPath() *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
}

func egress(value, cluster string) *routev3.Route {
	match := anyPath()
	match.Headers = []*routev3.HeaderMatcher{{
		Name: EgressHeader,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Exact{Exact: value},
		}},
	}}
	return &routev3.Route{
		Name:  "egress_" + value,
		Match: match,
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: cluster},
			Timeout:          &durationpb.Duration{}, // off: a model's own timeout is extproc's to watch
			// Only what never reached the upstream: a body that did may not go twice.
			RetryPolicy: &routev3.RetryPolicy{RetryOn: "connect-failure,refused-stream", NumRetries: wrapperspb.UInt32(1)},
		}},
		// What a caller sent and Envoy added that AWS has no use for; extproc removes the
		// rest. Never authorization: that is the signature by now.
		RequestHeadersToRemove: []string{
			EgressHeader, RequestIDHeader, "x-request-id", "x-forwarded-for", "x-forwarded-proto",
			"x-api-key", "api-key", "cookie", "proxy-authorization",
		},
	}
}
