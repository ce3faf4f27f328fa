package envoy

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// accessLog writes, to standard output, the line of each request that extproc
// was not asked about or did not answer: what is not HTTP, an upgrade, headers
// too large or too late, extproc gone. extproc writes the line of every other
// one, in the same words.
func accessLog(o Options) *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{
		Name:   "envoy.access_loggers.stdout",
		Filter: both(ofEnvoy(o), cel(unseen)),
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack(&streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
				Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: accessLine()},
			}},
		})},
	}
}

// ofEnvoy holds for every status that Envoy may answer with by itself: errors, and
// the preflights' 204. It spares all other requests the expression, which costs as
// much as a round of header mutations.
func ofEnvoy(o Options) *accesslogv3.AccessLogFilter {
	if len(o.AllowOrigins) == 0 {
		return atLeast(400)
	}
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_OrFilter{
		OrFilter: &accesslogv3.OrFilter{Filters: []*accesslogv3.AccessLogFilter{atLeast(400), status(204)}},
	}}
}

// unseen holds for answers that extproc knows nothing of. It knows what it sent
// out or answered itself, and of an answer that cut a request short while it was
// being read. A caller who left before any answer is extproc's to tell.
const unseen = `"code" in response && "code_details" in response` +
	` && !(response.code_details in ["aisix_reject", "request_overall_timeout", "request_payload_too_large"])` +
	` && !("route_name" in xds && xds.route_name.startsWith("egress_"))`

// accessLine has the members that extproc's line has, as far as Envoy knows
// them, and why Envoy answered.
func accessLine() *structpb.Struct {
	line := map[string]*structpb.Value{}
	for name, value := range map[string]string{
		"time":           "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
		"level":          "INFO",
		"msg":            "request",
		"request_id":     "%RESP(" + RequestIDHeader + "):256%",
		"method":         "%REQ(:METHOD):32%",
		"path":           "%PATH(NQ:PATH):256%",
		"status":         "%RESPONSE_CODE%",
		"latency_ms":     "%DURATION%",
		"client_address": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
		"details":        "%RESPONSE_CODE_DETAILS%",
	} {
		line[name] = structpb.NewStringValue(value)
	}
	return &structpb.Struct{Fields: line}
}
