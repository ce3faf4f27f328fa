package envoy

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
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
func askConnection() *listenerv3.Filter {
	return &listenerv3.Filter{
		Name: "envoy.filters.network.ratelimit",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(&ratelimitv3.RateLimit{
			StatPrefix: "connections",
			Domain:     "connections",
			Timeout:    dur(time.Second), // Envoy's own, 20 ms, is one busy moment
			Descriptors: []*descriptorv3.RateLimitDescriptor{{Entries: []*descriptorv3.RateLimitDescriptor_Entry{
				{Key: "address", Value: "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%"},
			}}},
			RateLimitService: &rlsv3.RateLimitServiceConfig{GrpcService: grpcService(ClusterExtProc), TransportApiVersion: corev3.ApiVersion_V3},
		})},
	}
}

// tellConnection tells extproc, at once, of each connection that has ended.
func tellConnection() *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{
		Name: "envoy.access_loggers.tcp_grpc",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack(&grpclogv3.TcpGrpcAccessLogConfig{
			CommonConfig: &grpclogv3.CommonGrpcAccessLogConfig{
				LogName: "connections", GrpcService: grpcService(ClusterExtProc), TransportApiVersion: corev3.ApiVersion_V3,
				BufferSizeBytes: wrapperspb.UInt32(0),
			},
		})},
	}
}
