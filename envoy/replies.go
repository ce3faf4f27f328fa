package envoy

import (
	"encoding/json"
	"slices"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// reply is one answer that Envoy makes by itself, in the contract's words. The
// first whose condition holds is taken.
type reply struct {
	filter  *accesslogv3.AccessLogFilter
	status  uint32 // 0 keeps Envoy's
	kind    string // the error's type
	message string
	retry   bool // with Retry-After
}

// replies is the table of Envoy's own answers. Flags come before statuses:
// Envoy says 503 both for an upstream that failed and for an extproc that is
// gone.
func replies() []reply {
	return []reply{
		{filter: cel(overloaded), status: 503, kind: "gateway_overloaded", message: "too many requests in flight; retry after a moment", retry: true},
		{filter: flags("UPE", "UF", "UC", "UR", "LR", "UO", "URX", "UH", "DF"), status: 502, kind: "transport_error", message: "the connection to the upstream failed"},
		// Connecting failed, and the body is longer than Envoy keeps for its one retry.
		{filter: status(507), status: 502, kind: "transport_error", message: "the connection to the upstream failed"},
		{filter: cel(`response.code_details == "upgrade_failed"`), status: 405, kind: "invalid_request_error", message: "CONNECT and protocol upgrades are not supported"},
		{filter: status(400), kind: "invalid_request_error", message: "the request is not valid HTTP"},
		{filter: status(405), kind: "invalid_request_error", message: "CONNECT and protocol upgrades are not supported"},
		{filter: status(404), kind: "invalid_request_error", message: "no route matches this request"},
		{filter: status(408), kind: "invalid_request_error", message: "the request did not arrive in time"},
		{filter: status(413), kind: "invalid_request_error", message: "the request body is too large"},
		{filter: status(426), kind: "invalid_request_error", message: "HTTP/1.1 or newer is required"},
		{filter: status(431), kind: "invalid_request_error", message: "the request headers are too large"},
		{filter: status(501), kind: "invalid_request_error", message: "the transfer encoding is not supported"},
		{filter: status(504), kind: "timeout", message: "the upstream did not answer in time"},
		{filter: flags("UT", "SI", "DT"), status: 504, kind: "timeout", message: "the upstream did not answer in time"},
		{filter: status(503), kind: "gateway_unavailable", message: "the gateway is temporarily unavailable", retry: true},
		{filter: atLeast(500), kind: "internal_error", message: "the gateway failed to handle the request"},
		{filter: atLeast(0), kind: "invalid_request_error", message: "the request cannot be served"},
	}
}

// overloaded holds where the cluster of extproc has max_requests under way, and
// where Envoy's memory is all but full.
const overloaded = `response.code_details == "overload" || response.code_details.contains("_reset_reason:_overflow")`

// ours holds for extproc's immediate responses, which pass through the same
// configuration: all of them carry our request id, and nothing of Envoy's does.
const ours = `"` + RequestIDHeader + `" in response.headers`

// localReplies have more headers than an id, all of them but extproc's. toPages adds to extproc's
// what tells browsers who may read an answer (see cors.go): where extproc answers in an
// upstream's stead, no filter of the way back sees it.
func localReplies(more []*corev3.HeaderValueOption, toPages bool) *hcmv3.LocalReplyConfig {
	c := &hcmv3.LocalReplyConfig{Mappers: []*hcmv3.ResponseMapper{{
		Filter:             cel(ours),
		BodyFormatOverride: text("%LOCAL_REPLY_BODY%", ""),
	}}}
	if toPages {
		c.Mappers[0].HeadersToAdd = remembered()
	}
	for _, r := range replies() {
		c.Mappers = append(c.Mappers, mappers(r, more)...)
	}
	return c
}

// withUnread has the answers to what nobody has read, too: in an Envoy with other virtual
// hosts those are not ours.
func withUnread(c *hcmv3.LocalReplyConfig, more []*corev3.HeaderValueOption) *hcmv3.LocalReplyConfig {
	c.Mappers = slices.Insert(c.Mappers, 1, unread(more)...)
	return c
}

// mappers are one answer in the shape of each door, with more headers than its id.
func mappers(r reply, more []*corev3.HeaderValueOption) []*hcmv3.ResponseMapper {
	m := &hcmv3.ResponseMapper{
		Filter:             r.filter,
		BodyFormatOverride: text(errorJSON(r.kind, r.message), "application/json"),
		HeadersToAdd:       append(requestID(), more...),
	}
	if r.status != 0 {
		m.StatusCode = wrapperspb.UInt32(r.status)
	}
	if r.retry {
		m.HeadersToAdd = append(m.HeadersToAdd, overwrite("retry-after", "1"))
	}
	a := anthropicReply(r)
	a.HeadersToAdd = append(a.HeadersToAdd, more...)
	return []*hcmv3.ResponseMapper{a, m}
}

// requestID is the contract's rule for the id of an answer, as headers of
// which the last that is not empty stays: a UUID, and over it the caller's
// x-aisix-request-id, else its x-request-id, if 1 to 256 visible ASCII
// characters, or what extproc made of them.
func requestID() []*corev3.HeaderValueOption { return idHeader(RequestIDHeader, `%UNIQUE_ID%`) }

// idHeader is that id under any name; made is where the caller gave none.
func idHeader(name, made string) []*corev3.HeaderValueOption {
	valid := func(name string) string {
		h := `request.headers["` + name + `"]`
		return `"` + name + `" in request.headers && size(` + h + `) <= 256 && ` + h + `.matches("^[!-~]+$") ? ` + h + ` : `
	}
	return []*corev3.HeaderValueOption{
		overwrite(name, made),
		overwrite(name, `%CEL(`+valid(RequestIDHeader)+valid("x-request-id")+`"")%`),
		overwrite(name, "%DYNAMIC_METADATA("+OwnNamespace+":"+OwnRequestID+")%"), // of a request that has gone on, without the caller's headers
	}
}

// details tells extproc that an answer is Envoy's own, and why, where it was asked about
// the request: such an answer passes the filters, and so loses the header again.
//
// It would not lose it where the head of an upstream's answer came before: what breaks off
// behind it is answered past all filters.
func details() *corev3.HeaderValueOption {
	return overwrite(DetailsHeader, `%CEL("route_name" in xds && (xds.route_name == "`+routeAsk+`" || xds.route_name.startsWith("`+routeEgress+`")) && !response.code_details.startsWith("upstream_reset_after_response_started") && !response.code_details.startsWith("ext_proc") ? response.code_details : "")%`)
}

func overwrite(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// errorJSON is the contract's error object. The messages are constants, and
// none holds a percent sign, which Envoy would read as a command.
func errorJSON(kind, message string) string {
	type object struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Code    *string `json:"code"`
		Param   *string `json:"param"`
	}
	b, err := json.Marshal(map[string]object{"error": {Message: message, Type: kind}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// text formats a body. contentType "" keeps what the answer says of itself.
func text(format, contentType string) *corev3.SubstitutionFormatString {
	return &corev3.SubstitutionFormatString{
		Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{
			Specifier: &corev3.DataSource_InlineString{InlineString: format},
		}},
		ContentType: contentType,
	}
}

// flags are Envoy's response flags, https://www.envoyproxy.io/docs → access log
// → RESPONSE_FLAGS.
func flags(f ...string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
		ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: f},
	}}
}

func both(a, b *accesslogv3.AccessLogFilter) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{
		AndFilter: &accesslogv3.AndFilter{Filters: []*accesslogv3.AccessLogFilter{a, b}},
	}}
}

func status(code uint32) *accesslogv3.AccessLogFilter {
	return compare(accesslogv3.ComparisonFilter_EQ, code)
}
func atLeast(code uint32) *accesslogv3.AccessLogFilter {
	return compare(accesslogv3.ComparisonFilter_GE, code)
}

func compare(op accesslogv3.ComparisonFilter_Op, code uint32) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_StatusCodeFilter{
		StatusCodeFilter: &accesslogv3.StatusCodeFilter{Comparison: &accesslogv3.ComparisonFilter{
			Op:    op,
			Value: &corev3.RuntimeUInt32{DefaultValue: code, RuntimeKey: "aisix.local_reply"}, // a key is demanded; nothing sets it
		}},
	}}
}

func cel(expression string) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslogv3.ExtensionFilter{
			Name:       "envoy.access_loggers.extension_filters.cel",
			ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: pack(&celv3.ExpressionFilter{Expression: expression})},
		},
	}}
}
