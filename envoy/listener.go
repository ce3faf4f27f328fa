package envoy

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	dfpfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/dynamic_forward_proxy/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	healthcheckv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	uuidv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// listener is where callers come in. Its connections are watched by TCP
// keep-alive, since an answer may be silent for minutes and a caller behind a
// dead NAT entry would hold its slot for the whole idle timeout.
func listener(o Options) *listenerv3.Listener {
	chain := &listenerv3.FilterChain{Filters: []*listenerv3.Filter{{
		Name:       "envoy.filters.network.http_connection_manager",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(connectionManager(o))},
	}}}
	if o.TLSCertFile != "" {
		tls := &tlsv3.CommonTlsContext{
			TlsParams:     &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2},
			AlpnProtocols: []string{"h2", "http/1.1"},
		}
		o.shows(tls, secretCallers, o.TLSCertFile, o.TLSKeyFile)
		chain.TransportSocket = socket(&tlsv3.DownstreamTlsContext{CommonTlsContext: tls})
		chain.TransportSocketConnectTimeout = dur(10 * time.Second) // a handshake that never ends holds a connection slot
	}
	l := &listenerv3.Listener{
		Name:             "callers",
		Address:          address(o.Listen),
		FilterChains:     []*listenerv3.FilterChain{chain},
		TrafficDirection: corev3.TrafficDirection_INBOUND,
	}
	if o.MaxPerAddress > 0 {
		// Asked when a connection is made, and only then: it must not wait for a first
		// byte, or those that never say one would not count.
		chain.Filters = append([]*listenerv3.Filter{askConnection(o)}, chain.Filters...)
		l.AccessLog = []*accesslogv3.AccessLog{tellConnection(o)}
	} else {
		l.ListenerFilters, l.ListenerFiltersTimeout = firstByte(), dur(o.FirstByteTimeout)
	}
	if o.since(37) {
		l.TcpKeepalive = keepalive()
	}
	if o.StallTimeout > 0 {
		l.SocketOptions = stallTimeout(o.StallTimeout)
	}
	if o.BodyMode == Buffered {
		l.PerConnectionBufferLimitBytes = bufferLimit(o)
	}
	return l
}

// stallTimeout is TCP_USER_TIMEOUT: the kernel closes a connection whose other end
// has acknowledged nothing, or kept its window shut, for so long. Envoy has no clock
// of its own for a caller who stops reading in the middle of an answer.
func stallTimeout(d time.Duration) []*corev3.SocketOption {
	const ipprotoTCP, tcpUserTimeout = 6, 18 // Linux's
	return []*corev3.SocketOption{{
		Description: "TCP_USER_TIMEOUT",
		Level:       ipprotoTCP,
		Name:        tcpUserTimeout,
		Value:       &corev3.SocketOption_IntValue{IntValue: d.Milliseconds()},
		State:       corev3.SocketOption_STATE_LISTENING, // what is accepted inherits it
	}}
}

// firstByte has a limit of its own for connections that have said nothing yet.
// Envoy's HTTP has one limit for all that are idle, and callers keep theirs for
// minutes between requests. It looks at the first bytes before HTTP does, with or
// without TLS. (Its namesake for HTTP wants the whole first line, and breaks off
// where that is too long.)
func firstByte() []*listenerv3.ListenerFilter {
	return []*listenerv3.ListenerFilter{{
		Name:       "envoy.filters.listener.tls_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: pack(&tlsinspectorv3.TlsInspector{})},
	}}
}

// bufferLimit lets Envoy hold a whole request; its own is 1 MiB. (A virtual host's
// request_body_buffer_limit does nothing for a route without a cluster.)
func bufferLimit(o Options) *wrapperspb.UInt32Value { return u32(o.MaxRequestBytes) }

// streamWindow takes a body of some MiB without a stop every 64 KiB. It is the
// bufferLimit of an HTTP/2 stream, too.
func streamWindow(o Options) int64 {
	if o.BodyMode == Buffered {
		return max(1<<20, o.MaxRequestBytes)
	}
	return 1 << 20
}

func socket(m proto.Message) *corev3.TransportSocket {
	return &corev3.TransportSocket{Name: "envoy.transport_sockets.tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(m)}}
}

// keepalive probes below the 350 s after which AWS's NAT gateways and load
// balancers forget a silent connection.
func keepalive() *corev3.TcpKeepalive {
	return &corev3.TcpKeepalive{KeepaliveTime: u32(60), KeepaliveInterval: u32(15), KeepaliveProbes: u32(4)}
}

func connectionManager(o Options) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		StatPrefix: "callers",
		CodecType:  hcmv3.HttpConnectionManager_AUTO,

		// One path for one thing: dot segments and doubled slashes (an SDK whose base
		// URL ends in one) are resolved. An escaped slash stays: a model alias may hold
		// one in GET /v1/models/{id}, and extproc's table of operations is exact, so it
		// can hide nothing.
		NormalizePath:                yes(),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_KEEP_UNCHANGED,

		EarlyHeaderMutationExtensions: earlyMutation(fromCallers()),

		// The caller's address: the peer, or what TrustedHops proxies vouch for. Nobody
		// is "internal": the headers which that unlocks are stripped above anyhow.
		UseRemoteAddress:  yes(),
		XffNumTrustedHops: uint32(o.TrustedHops),
		SkipXffAppend:     true, // extproc reads x-envoy-external-address, and x-forwarded-for goes nowhere
		InternalAddressConfig: &hcmv3.HttpConnectionManager_InternalAddressConfig{CidrRanges: []*corev3.CidrRange{
			{AddressPrefix: "255.255.255.255", PrefixLen: u32(32)}, // an empty list would mean all private ones
		}},

		// A caller's x-request-id stays as it is, to the letter: it becomes our request
		// id where there is no better one. Envoy would otherwise replace it, or write
		// the tracing decision into it.
		GenerateRequestId:         yes(),
		PreserveExternalRequestId: true,
		RequestIdExtension: &hcmv3.RequestIDExtension{TypedConfig: pack(&uuidv3.UuidRequestIdConfig{
			PackTraceReason: wrapperspb.Bool(false),
		})},

		SchemeHeaderTransformation: ofUpstream(o),

		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH, // adds none; the upstream's is removed below
		MaxRequestHeadersKb:        u32(60),
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout:     dur(o.IdleTimeout),
			MaxHeadersCount: u32(100),
			// No header that means something here has an underscore. Proxies and some
			// clients add such headers in good faith, so they are dropped, not answered
			// with a 400; nothing behind can take one for its namesake with a dash.
			HeadersWithUnderscoresAction: corev3.HttpProtocolOptions_DROP_HEADER,
		},
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			MaxConcurrentStreams:        u32(100),
			InitialStreamWindowSize:     u32(streamWindow(o)),
			InitialConnectionWindowSize: u32(4 << 20),
			// A broken request ends its own stream, not the connection that others share.
			OverrideStreamErrorOnInvalidHttpMessage: yes(),
		},

		RequestHeadersTimeout: dur(30 * time.Second),
		RequestTimeout:        dur(o.RequestTimeout),
		StreamIdleTimeout:     dur(o.StreamIdleTimeout),
		StreamFlushTimeout:    dur(o.FlushTimeout),
		DrainTimeout:          dur(o.DrainTimeout),

		// No upgrade_configs: upgrades and CONNECT are refused.
		LocalReplyConfig: withUnread(localReplies([]*corev3.HeaderValueOption{details()}, len(o.AllowOrigins) > 0), toAnyPage(o)),
		AccessLog:        []*accesslogv3.AccessLog{accessLog(o)},
		RouteSpecifier:   &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: routes(o)},
		HttpFilters: append(remember(o), []*hcmv3.HttpFilter{
			// First in, so last on the way back: extproc still sees AWS's request id.
			filter("envoy.filters.http.header_mutation", &headermutationv3.HeaderMutation{
				Mutations: &headermutationv3.Mutations{ResponseMutations: append(fromUpstream(), toOrigins(o)...)},
			}),
			// An Envoy that drains (POST /healthcheck/fail of its admin interface) is not ready,
			// whatever extproc says: balancers in front look elsewhere.
			filter("envoy.filters.http.health_check", &healthcheckv3.HealthCheck{
				PassThroughMode: yes(),
				Headers:         []*routev3.HeaderMatcher{header(":path", &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "/readyz"}})},
			}),
			disabled(filter(processorName, processor(o))), // the routes enable it
			forwardProxy(o),
			filter("envoy.filters.http.router", &routerv3.Router{
				SuppressEnvoyHeaders: true,
				// No counters by status code of the clusters': their names are put together at
				// each answer, and extproc counts the same by model.
				DynamicStats: wrapperspb.Bool(false),
			}),
		}...),
	}
}

func filter(name string, m proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(m)}}
}

const forwardProxyName = "envoy.filters.http.dynamic_forward_proxy"

// forwardProxy resolves the hosts of the Bedrock clusters; requests to others'
// clusters pass it by.
func forwardProxy(o Options) *hcmv3.HttpFilter {
	return filter(forwardProxyName, &dfpfilterv3.FilterConfig{
		ImplementationSpecifier: &dfpfilterv3.FilterConfig_DnsCacheConfig{DnsCacheConfig: dnsCache(o)},
	})
}

// earlyMutation changes requests before their route is looked up.
func earlyMutation(ms []*mutationv3.HeaderMutation) []*corev3.TypedExtensionConfig {
	return []*corev3.TypedExtensionConfig{{
		Name:        "envoy.http.early_header_mutation.header_mutation",
		TypedConfig: pack(&earlyv3.HeaderMutation{Mutations: ms}),
	}}
}

// disabled leaves f out unless the route enables it.
func disabled(f *hcmv3.HttpFilter) *hcmv3.HttpFilter {
	f.Disabled = true
	return f
}

// fromCallers removes, before anything reads the headers, what steers Envoy
// (x-envoy-*), leads out (x-aisix-egress, x-aisix-host) or is part of a signature
// (x-amz-*, x-amzn-*). x-aisix-request-id is the one header of ours a caller may send.
func fromCallers() []*mutationv3.HeaderMutation {
	return append(removePrefixes("x-envoy-", "x-amz"), waysOut()...)
}

// waysOut removes the headers that are extproc's to set.
func waysOut() []*mutationv3.HeaderMutation {
	return []*mutationv3.HeaderMutation{remove(EgressHeader), remove(HostHeader)}
}

// fromUpstream removes what tells callers who answered, and why. extproc drops
// everything that it does not know; this is the second lock.
func fromUpstream() []*mutationv3.HeaderMutation {
	return append(removePrefixes("x-envoy-", "x-amz"), remove("server"), remove("via"), remove(DetailsHeader))
}

func remove(name string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: name}}
}

func removePrefixes(prefixes ...string) []*mutationv3.HeaderMutation {
	var ms []*mutationv3.HeaderMutation
	for _, p := range prefixes {
		ms = append(ms, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{
			RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{
				KeyMatcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: p}, IgnoreCase: true},
			},
		}})
	}
	return ms
}
