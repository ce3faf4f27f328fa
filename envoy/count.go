package envoy

import (
	"time"

	aiv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ai_protocol_manager/v3"
	filterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	upstreamcodecv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// usageNamespace is where Envoy puts the tokens that it has counted.
const usageNamespace = "envoy.ai.token_usage"

// counters are the filters of an upstream that count the tokens of its answers, and tell
// them with trailers that they make up; none where extproc counts.
func counters(o Options) []*hcmv3.HttpFilter {
	if !o.CountInEnvoy {
		return nil
	}
	return []*hcmv3.HttpFilter{
		filter("envoy.filters.http.ai_protocol_manager", &aiv3.AiProtocolManager{ResponseHandling: &aiv3.ResponseHandling{TokenUsage: &aiv3.TokenUsageExtraction{
			IncludeUnconfiguredRoutes: true,
			UsageSignal:               aiv3.TokenUsageExtraction_SYNTHESIZE_TRAILERS,
		}}}),
		filter("envoy.filters.http.upstream_codec", &upstreamcodecv3.UpstreamCodec{}),
	}
}

// countInEnvoy lets extproc say of each call whether it sees the answer's body. From full
// duplex there is no way to none (Envoy 1.40): so what is configured is what may become
// either.
func countInEnvoy(p *filterv3.ExternalProcessor) {
	p.ProcessingMode.RequestBodyMode = filterv3.ProcessingMode_STREAMED
	p.ProcessingMode.ResponseBodyMode = filterv3.ProcessingMode_NONE
	p.AllowModeOverride = true
	p.MetadataOptions.ForwardingNamespaces = &filterv3.MetadataOptions_MetadataNamespaces{Typed: []string{usageNamespace}}
	p.MessageTimeout = dur(time.Hour) // every deadline is extproc's, here too
}
