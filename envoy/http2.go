package envoy

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	upstreamsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
)

const (
	// sharing is how many calls one connection to an upstream carries at a time, and how many a
	// connection that breaks takes along. AWS's load balancers allow 128.
	sharing = 100
	// behind is how much of an answer may have come that its caller does not take yet.
	behind = 256 << 10
)

// agreed is what host and Envoy agree on by ALPN: HTTP/2, else HTTP/1.1.
func agreed() *upstreamsv3.HttpProtocolOptions_AutoConfig {
	return &upstreamsv3.HttpProtocolOptions_AutoConfig{AutoConfig: &upstreamsv3.HttpProtocolOptions_AutoHttpConfig{
		HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			MaxConcurrentStreams:    u32(sharing),
			InitialStreamWindowSize: u32(behind),
			// All that callers who do not read can hold of one connection: the others' answers go on.
			InitialConnectionWindowSize: u32(sharing * behind),
			// A broken answer ends its own stream, not the connection that others share.
			OverrideStreamErrorOnInvalidHttpMessage: yes(),
			// Frames without a payload, and windows that are opened a little at a time, are some servers'
			// way. Envoy's own bounds (1 and 10) take either for an attack, and end the connection.
			MaxConsecutiveInboundFramesWithEmptyPayload:  u32(100),
			MaxInboundWindowUpdateFramesPerDataFrameSent: u32(100),
			// A connection whose other end is gone would go on taking calls until the kernel gives it
			// up, a quarter of an hour later. Any frame counts as an answer to a ping.
			ConnectionKeepalive: &corev3.KeepaliveSettings{
				Interval:               dur(30 * time.Second),
				Timeout:                dur(15 * time.Second),
				ConnectionIdleInterval: dur(5 * time.Second), // asked again with the next call
			},
		},
	}}
}

// forHTTP2 is what the cluster has in place of what it has in the other fragments, and what the
// connection manager takes beside them.
func forHTTP2() map[string]proto.Message {
	o := Defaults()
	o.UpstreamHTTP2 = true
	return map[string]proto.Message{
		"bedrock_tls.yaml":        &clusterv3.Cluster{TypedExtensionProtocolOptions: protocol(toBedrock(o, ClusterTLS, cleaning()...))},
		"connection_manager.yaml": &hcmv3.HttpConnectionManager{SchemeHeaderTransformation: ofUpstream(o)},
	}
}

// ofUpstream makes :scheme the upstream's, https; it would be that of the caller's connection, which
// HTTP/1.1 does not tell upstreams.
func ofUpstream(o Options) *corev3.SchemeHeaderTransformation {
	if !o.UpstreamHTTP2 {
		return nil
	}
	return &corev3.SchemeHeaderTransformation{MatchUpstream: true}
}
