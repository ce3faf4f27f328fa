package envoy

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The listener's name, in statistics too. In a mesh there are others' listeners.
const (
	egressName     = "egress"
	meshEgressName = "aisix_egress"
)

// egressIdle is longer than extproc keeps a connection: which of the two lets go of one must
// not depend on who is faster.
const egressIdle = 10 * time.Minute

// egressListener is where extproc comes in with the attempts that it makes itself, beside the
// caller's own request: they leave by the same clusters, so that TLS, look-ups, connections
// and statistics of upstreams are Envoy's for them too. Whoever reaches it is extproc: the
// socket's mode sees to that, or on loopback a secret. A request that lacks the headers that
// lead out has no route.
func egressListener(o Options) *listenerv3.Listener {
	l := &listenerv3.Listener{
		Name:    egressName,
		Address: address(o.Egress),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(egressManager(o))},
		}}}},
		IgnoreGlobalConnLimit: true, // that is for callers
		// While callers' listener drains (/healthcheck/fail, /drain_listeners?inboundonly), calls in
		// flight may still need this one.
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		DrainType:        listenerv3.Listener_MODIFY_ONLY,
	}
	if pipe := l.Address.GetPipe(); pipe != nil {
		pipe.Mode = 0o660 // as extproc's own socket
	}
	return l
}

func egressManager(o Options) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		StatPrefix:                 egressName,
		CodecType:                  hcmv3.HttpConnectionManager_HTTP1,
		GenerateRequestId:          wrapperspb.Bool(false),
		SchemeHeaderTransformation: ofUpstream(o),
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		MaxRequestHeadersKb:        u32(60),
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout:                  dur(egressIdle),
			HeadersWithUnderscoresAction: corev3.HttpProtocolOptions_REJECT_REQUEST,
		},
		StreamIdleTimeout: dur(o.StreamIdleTimeout),
		DrainTimeout:      dur(o.DrainTimeout),
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			Name: egressName, VirtualHosts: []*routev3.VirtualHost{virtualHost(egressName, []string{"*"}, ownEgresses(o)...)},
		}},
		HttpFilters: []*hcmv3.HttpFilter{
			filter("envoy.filters.http.header_mutation", &headermutationv3.HeaderMutation{
				Mutations: &headermutationv3.Mutations{ResponseMutations: []*mutationv3.HeaderMutation{tellDetails()}},
			}),
			forwardProxy(o),
			filter("envoy.filters.http.router", &routerv3.Router{SuppressEnvoyHeaders: true, DynamicStats: wrapperspb.Bool(false)}),
		},
	}
}

// tellDetails says of each answer whose it is, the upstream's or Envoy's own: over what an
// upstream says of itself.
func tellDetails() *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: overwrite(DetailsHeader, "%RESPONSE_CODE_DETAILS%")}}
}

// ownEgresses are the ways out, for extproc alone: no filter asks it. What no upstream takes by them
// is extproc's to try again.
func ownEgresses(o Options) []*routev3.Route {
	routes := []*routev3.Route{egress(EgressTLS, ClusterTLS, nil), egress(EgressPlaintext, ClusterPlaintext, nil)}
	for _, r := range routes {
		r.TypedPerFilterConfig = map[string]*anypb.Any{forwardProxyName: toNamedHost()}
		r.RequestHeadersToRemove = append(r.RequestHeadersToRemove, SecretHeader)
		if o.EgressSecret != "" {
			secret := &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: o.EgressSecret}}
			r.Match.Headers = append(r.Match.Headers, header(SecretHeader, secret))
		}
	}
	return append(routes, &routev3.Route{Name: "nothing", Match: anyPath(), Action: directResponse(404)})
}

// meshEgressListener is the same in a mesh, by clusters that may have other names there and come
// and go apart from the listener. It has no forward proxy's filter: that one must agree with the
// clusters on how hosts are looked up, which others choose there. The clusters look up the
// request's own host, which is the one that extproc has signed.
//
// What routes of before match goes no further.
func meshEgressListener(o Options, clusterTLS, clusterPlaintext string, before ...*routev3.Route) *listenerv3.Listener {
	l := egressListener(o)
	l.Name = meshEgressName
	m := egressManager(o)
	m.StatPrefix = meshEgressName
	m.HttpFilters = slices.DeleteFunc(m.HttpFilters, func(f *hcmv3.HttpFilter) bool { return f.Name == forwardProxyName })
	routes := m.GetRouteConfig()
	routes.Name, routes.ValidateClusters = meshEgressName, wrapperspb.Bool(false)
	names := map[string]string{ClusterTLS: clusterTLS, ClusterPlaintext: clusterPlaintext}
	host := routes.VirtualHosts[0]
	host.Name = meshEgressName
	for _, r := range host.Routes {
		r.TypedPerFilterConfig = nil
		if out := r.GetRoute(); out != nil {
			out.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: names[out.GetCluster()]}
		}
	}
	host.Routes = append(before, host.Routes...)
	l.FilterChains[0].Filters[0].ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: pack(m)}
	return l
}

// secrets are those that a header carries as they are, and nobody guesses.
var secrets = regexp.MustCompile(`^[!-~]{16,512}$`)

// checkMeshEgress is check, where a listener is to be made.
func (o Options) checkMeshEgress() error {
	if o.Egress == "" {
		return errors.Join(o.check(), errors.New("no egress: want unix:/absolute/path"))
	}
	return o.check()
}

func (o Options) checkEgress() (errs []error) {
	if o.EgressSecret != "" && !secrets.MatchString(o.EgressSecret) {
		errs = append(errs, fmt.Errorf("egress secret: want 16 to 512 visible ASCII characters"))
	}
	if o.Reconnects && (o.Egress == "" || o.CountInEnvoy) {
		errs = append(errs, errors.New("reconnects: want an egress listener, and answers that extproc sees"))
	}
	if o.Egress == "" {
		return errs
	}
	if path, ok := strings.CutPrefix(o.Egress, "unix:"); ok {
		if !filepath.IsAbs(path) {
			errs = append(errs, fmt.Errorf("egress %q: want unix:/absolute/path", o.Egress))
		}
		return errs
	}
	switch at, err := netip.ParseAddrPort(o.Egress); {
	case err != nil || !at.Addr().IsLoopback():
		errs = append(errs, fmt.Errorf("egress %q: want unix:/absolute/path, or ip:port on loopback", o.Egress))
	case o.EgressSecret == "":
		errs = append(errs, fmt.Errorf("egress %q: every process of this machine reaches it, so it takes a secret", o.Egress))
	}
	return errs
}
