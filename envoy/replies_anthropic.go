package envoy

import (
	"cmp"
	"slices"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Anthropic's clients read Envoy's own answers in Anthropic's words, where they ask for its
// API: under its path, for models with its version, and by extproc's word.

// asksAnthropic holds for their requests. One that was not understood as far as its path is
// nobody's (see unread).
func asksAnthropic() *accesslogv3.AccessLogFilter {
	version := &routev3.HeaderMatcher{Name: "anthropic-version", HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}}
	return either(either(
		headerFilter(header(":path", matching("/v1/messages([/?].*)?"))),
		both(headerFilter(header(":path", matching("/v1/models([/?].*)?"))), headerFilter(version)),
	), goneOn())
}

// goneOn holds for those that extproc has sent on: their path is the upstream's by then.
func goneOn() *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_MetadataFilter{MetadataFilter: &accesslogv3.MetadataFilter{
		Matcher: &matcherv3.MetadataMatcher{
			Filter: OwnNamespace,
			Path:   []*matcherv3.MetadataMatcher_PathSegment{{Segment: &matcherv3.MetadataMatcher_PathSegment_Key{Key: OwnDoor}}},
			Value: &matcherv3.ValueMatcher{MatchPattern: &matcherv3.ValueMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_Exact{Exact: DoorAnthropic},
			}}},
		},
		MatchIfKeyNotFound: wrapperspb.Bool(false),
	}}}
}

// unread are the answers to requests whose headers Envoy has not got: too many or too long,
// too slow, not HTTP/1.1. Nobody knows who asks, so that their object has the members of
// both APIs.
func unread(more []*corev3.HeaderValueOption) []*hcmv3.ResponseMapper {
	path := header(":path", nil)
	path.HeaderMatchSpecifier, path.InvertMatch = &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}, true
	var ms []*hcmv3.ResponseMapper
	for _, r := range replies() {
		if !slices.Contains([]uint32{400, 408, 426, 431}, statusOf(r)) {
			continue
		}
		body := anthropicError(r.kind, r.message)
		object := body.GetJsonFormat().Fields["error"].GetStructValue()
		object.Fields["code"], object.Fields["param"] = structpb.NewNullValue(), structpb.NewNullValue()
		ms = append(ms, &hcmv3.ResponseMapper{
			Filter:             both(headerFilter(path), r.filter),
			BodyFormatOverride: body,
			HeadersToAdd:       append(twoIDs(), more...),
		})
	}
	return ms
}

// statusOf is the one status that an answer is for, 0 where it is not for one.
func statusOf(r reply) uint32 {
	if c := r.filter.GetStatusCodeFilter().GetComparison(); c.GetOp() == accesslogv3.ComparisonFilter_EQ {
		return c.GetValue().GetDefaultValue()
	}
	return 0
}

// twoIDs are the id in both of its headers. The one that is made must come out the same twice,
// also where Envoy has given the request none, since it was not read.
func twoIDs() (hs []*corev3.HeaderValueOption) {
	for _, name := range []string{"request-id", RequestIDHeader} {
		hs = append(append(hs, overwrite(name, "%START_TIME(%s%9f)%-%CONNECTION_ID%")), idHeader(name, "%STREAM_ID%")...)
	}
	return hs
}

// anthropicKinds are the types of errors, and their statuses where Anthropic has others.
var anthropicKinds = map[string]struct {
	kind   string
	status uint32
}{
	"gateway_overloaded":    {"overloaded_error", 529},
	"gateway_unavailable":   {"overloaded_error", 529},
	"transport_error":       {"api_error", 500},
	"internal_error":        {"api_error", 500},
	"timeout":               {"timeout_error", 504},
	"invalid_request_error": {"invalid_request_error", 0},
}

// anthropicStatuses are the types of some statuses of bad requests.
var anthropicStatuses = map[uint32]string{404: "not_found_error", 413: "request_too_large"}

// anthropicReply is the mapper of one of Envoy's own answers for these callers.
func anthropicReply(r reply) *hcmv3.ResponseMapper {
	words := anthropicKinds[r.kind]
	kind := words.kind
	if r.kind == "invalid_request_error" {
		kind = cmp.Or(anthropicStatuses[statusOf(r)], kind)
	}
	m := &hcmv3.ResponseMapper{
		Filter:             both(asksAnthropic(), r.filter),
		BodyFormatOverride: anthropicError(kind, r.message),
		HeadersToAdd:       twoIDs(),
	}
	if status := cmp.Or(words.status, r.status); status != 0 {
		m.StatusCode = wrapperspb.UInt32(status)
	}
	if r.retry {
		m.HeadersToAdd = append(m.HeadersToAdd, overwrite("retry-after", "1"))
	}
	return m
}

// anthropicError is the error object. It is a JSON format, for the id may be of the caller's
// choosing and hold anything that is visible.
func anthropicError(kind, message string) *corev3.SubstitutionFormatString {
	object, err := structpb.NewStruct(map[string]any{
		"type":       "error",
		"error":      map[string]any{"type": kind, "message": message},
		"request_id": "%RESP(" + RequestIDHeader + ")%",
	})
	if err != nil {
		panic(err)
	}
	return &corev3.SubstitutionFormatString{
		Format:      &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: object},
		ContentType: "application/json",
	}
}

func headerFilter(m *routev3.HeaderMatcher) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_HeaderFilter{HeaderFilter: &accesslogv3.HeaderFilter{Header: m}}}
}

func either(a, b *accesslogv3.AccessLogFilter) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_OrFilter{
		OrFilter: &accesslogv3.OrFilter{Filters: []*accesslogv3.AccessLogFilter{a, b}},
	}}
}
