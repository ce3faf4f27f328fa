package envoy

import (
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	upstreamsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const processorName = "envoy.filters.http.ext_proc"

// maxProbes is how many probes are answered at a time.
const maxProbes = 100

// processor is the filter that asks extproc: one stream per request, every
// phase, and an error to the caller whenever extproc does not answer.
func processor(o Options) *filterv3.ExternalProcessor {
	p := &filterv3.ExternalProcessor{
		GrpcService:      grpcService(o, ClusterExtProc),
		FailureModeAllow: false,
		StatusOnError:    &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		ProcessingMode: &filterv3.ProcessingMode{
			RequestHeaderMode:   filterv3.ProcessingMode_SEND,
			RequestBodyMode:     filterv3.ProcessingMode_FULL_DUPLEX_STREAMED,
			RequestTrailerMode:  filterv3.ProcessingMode_SEND, // full duplex demands it
			ResponseHeaderMode:  filterv3.ProcessingMode_SEND,
			ResponseBodyMode:    filterv3.ProcessingMode_FULL_DUPLEX_STREAMED,
			ResponseTrailerMode: filterv3.ProcessingMode_SEND,
		},
		// Without it Envoy drops the content-length that extproc sets and sends chunked,
		// which AWS need not take.
		AllowContentLengthHeader: o.since(38), // before, a buffered body may have its length
		// extproc removes Envoy's headers from answers, which takes leave; :authority and
		// :method it has no business with. A mutation that Envoy will not make is an
		// error, not ignored: a request half changed must not go on.
		MutationRules: &mutationv3.HeaderMutationRules{AllowEnvoy: yes(), DisallowIsError: yes()},
		// The headers that extproc sets decide the route.
		RouteCacheAction: filterv3.ExternalProcessor_CLEAR,
		// Runs in buffered phases only; full duplex has no such clock, and every deadline
		// there is extproc's. Envoy's default, 200 ms, is one slow Redis call.
		MessageTimeout: dur(30 * time.Second),
		// What Envoy's own answers say of a request once its path is the upstream's.
		MetadataOptions: &filterv3.MetadataOptions{ReceivingNamespaces: &filterv3.MetadataOptions_MetadataNamespaces{Untyped: []string{OwnNamespace}}},
	}
	if o.BodyMode == Buffered {
		p.ProcessingMode.RequestBodyMode = filterv3.ProcessingMode_BUFFERED
		p.ProcessingMode.RequestTrailerMode = filterv3.ProcessingMode_SKIP
	}
	if o.CountInEnvoy {
		countInEnvoy(p)
	}
	return p
}

func grpcService(o Options, cluster string) *corev3.GrpcService {
	return &corev3.GrpcService{
		TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: cluster, SkipEnvoyHeaders: true}, // nobody reads them
		},
		RetryPolicy: elsewhere(o),
	}
}

// elsewhere tries again what no extproc has seen: one that was killed is not found out
// before somebody tries, and a port is nobody's for a moment when it is handed over. It costs
// each call a tenth of Envoy's instructions and each open stream 15 kB (what was sent is kept
// for as long), so one alone on a Unix socket goes without: that socket is handed over by a
// rename, and always somebody's.
func elsewhere(o Options) *corev3.RetryPolicy {
	if len(o.MoreExtProcs) == 0 && strings.HasPrefix(o.ExtProc, "unix:") {
		return nil
	}
	p := &corev3.RetryPolicy{
		RetryOn:      "connect-failure,refused-stream",
		NumRetries:   wrapperspb.UInt32(3),
		RetryBackOff: &corev3.BackoffStrategy{BaseInterval: dur(25 * time.Millisecond), MaxInterval: dur(200 * time.Millisecond)},
	}
	if len(o.MoreExtProcs) > 0 {
		p.RetryHostPredicate = []*corev3.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &corev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: pack(&previousv3.PreviousHostsPredicate{})},
		}}
		p.HostSelectionRetryMaxAttempts = 5
	}
	return p
}

// extprocCluster reaches extproc, with at most so many requests at a time. There
// are two of them: probes have a share of their own, so that callers who fill the
// other do not make the gateway look dead.
func extprocCluster(o Options, name string, requests int) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:       dur(time.Second), // it is near
		CircuitBreakers:      thresholds(requests),
		LoadAssignment:       &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: endpoints(o)},
		HealthChecks:         []*corev3.HealthCheck{readiness(o)},
		// Where none is ready, all are asked, and say themselves why they can't serve; else
		// only those that are, however few.
		CommonLbConfig: &clusterv3.Cluster_CommonLbConfig{HealthyPanicThreshold: &typev3.Percent{Value: 1}},
		TypedExtensionProtocolOptions: protocol(&upstreamsv3.HttpProtocolOptions{
			UpstreamProtocolOptions: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig_{
				ExplicitHttpConfig: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig{
					// Fixed windows, as extproc's gRPC server has them: measured, they save the
					// window updates of a stream's many small messages.
					ProtocolConfig: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
						Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
							InitialStreamWindowSize:     u32(1 << 20),
							InitialConnectionWindowSize: u32(16 << 20),
							// A process that hangs still has its connections, and the kernel takes new
							// ones for it: silence is all that tells. extproc's gRPC server allows pings.
							ConnectionKeepalive: &corev3.KeepaliveSettings{Interval: dur(o.ExtProcSilence), Timeout: dur(o.ExtProcSilence)},
						},
					},
				},
			},
		}),
	}
	if o.named() {
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
	}
	if o.named() || len(o.MoreExtProcs) > 0 {
		c.LbPolicy = clusterv3.Cluster_LEAST_REQUEST // calls are long, and a new extproc has none
		c.OutlierDetection = unreachable(o)
	}
	if o.ExtProcCAFile != "" {
		c.TransportSocket = socket(toExtProc(o))
	}
	return c
}

// thresholds are in place of Envoy's default of 1024 requests under way; past them
// it answers 503 by itself.
func thresholds(requests int) *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     u32(requests),
		MaxPendingRequests: u32(requests),
		MaxRequests:        u32(requests),
		MaxRetries:         u32(max(1, requests/10)),
	}}}
}

func protocol(m proto.Message) map[string]*anypb.Any {
	return map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(m)}
}
