package envoy

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/config/ratelimit/v3"
	grpclogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	descriptorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ratelimit/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The two ends of extproc's count of connections by address (package
// extproc/connections). Envoy's own limits know no addresses.

// askConnection asks extproc before a connection is taken. Without an answer it is.
func askConnection(o Options) *listenerv3.Filter {
	return &listenerv3.Filter{
		Name: "envoy.filters.network.ratelimit",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(&ratelimitv3.RateLimit{
			StatPrefix: "connections",
			Domain:     "connections",
			Timeout:    dur(time.Second), // Envoy's own, 20 ms, is one busy moment
			Descriptors: []*descriptorv3.RateLimitDescriptor{{Entries: []*descriptorv3.RateLimitDescriptor_Entry{
				{Key: "address", Value: "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"},
			}}},
			RateLimitService: &rlsv3.RateLimitServiceConfig{GrpcService: grpcService(o, countingCluster(o)), TransportApiVersion: corev3.ApiVersion_V3},
		})},
	}
}

// tellConnection tells extproc, at once, of each connection that has ended.
func tellConnection(o Options) *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{
		Name: "envoy.access_loggers.tcp_grpc",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack(&grpclogv3.TcpGrpcAccessLogConfig{
			CommonConfig: &grpclogv3.CommonGrpcAccessLogConfig{
				LogName: "connections", GrpcService: grpcService(o, countingCluster(o)), TransportApiVersion: corev3.ApiVersion_V3,
				BufferSizeBytes: wrapperspb.UInt32(0),
			},
		})},
	}
}

// countingCluster is the one extproc that counts, where there are several: who is told
// of a connection's end must be who was asked.
func countingCluster(o Options) string {
	if len(o.MoreExtProcs) > 0 {
		return ClusterConnections
	}
	return ClusterExtProc
}

// counting reaches the first extproc that is ready, in the order in which they are
// named. One that takes over counts from nothing, and lets in rather too many.
func counting(o Options) *clusterv3.Cluster {
	c := extprocCluster(o, ClusterConnections, o.MaxUpstream)
	each := c.LoadAssignment.Endpoints[0].LbEndpoints
	c.LoadAssignment.Endpoints = nil
	for i, endpoint := range each {
		c.LoadAssignment.Endpoints = append(c.LoadAssignment.Endpoints, &endpointv3.LocalityLbEndpoints{Priority: uint32(i), LbEndpoints: []*endpointv3.LbEndpoint{endpoint}})
	}
	return c
}
