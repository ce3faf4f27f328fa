package envoy

import (
	"fmt"
	"regexp"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	statev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	setstatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/set_filter_state/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Pages of browsers may call from the origins that the options allow. Envoy's own CORS
// filter passes by what has a direct response for its route, as every request here has
// until extproc has answered: so a route answers preflights, and the header mutation that
// all answers pass on their way out, Envoy's own too, says who may read them. There are no
// cookies to allow: keys come in a header, which the page must hold.

// preflight is the route of browsers' questions for the origins that may call: answered
// here, before extproc asks for a key. Others' are requests like any.
func preflight(o Options) []*routev3.Route {
	if len(o.AllowOrigins) == 0 {
		return nil
	}
	const asked = `"access-control-request-headers"`
	const private = `"access-control-request-private-network"`
	return []*routev3.Route{{
		Name: "preflight",
		Match: anyPath(
			header(":method", &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "OPTIONS"}}),
			header("origin", matching(originsRegex(o))),
			&routev3.HeaderMatcher{Name: "access-control-request-method", HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}},
		),
		Action: directResponse(204),
		// The request id is what tells the answer from one of Envoy's errors (see ours).
		ResponseHeadersToAdd: append(requestID(),
			overwrite("access-control-allow-methods", "GET, HEAD, POST, OPTIONS"),
			overwrite("access-control-allow-headers", `%CEL(`+asked+` in request.headers ? request.headers[`+asked+`] : "authorization, content-type")%`),
			overwrite("access-control-allow-private-network", `%CEL(`+private+` in request.headers ? "true" : "")%`),
			overwrite("access-control-max-age", "7200"), // the longest that Chromium keeps it
		),
	}}
}

// exposed are what a page may read of an answer, beside what it always may.
const exposed = RequestIDHeader + ", x-request-id, request-id, retry-after, " +
	"x-ratelimit-limit-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, " +
	"x-ratelimit-reset-requests, x-ratelimit-reset-tokens, " +
	"x-aisix-attempts, x-aisix-target, x-aisix-estimated, x-aisix-cost-usd"

const stateOrigin, stateExposed = "aisix.cors.origin", "aisix.cors.exposed"

// remember keeps what answers will say: extproc takes the origin off what goes upstream.
func remember(o Options) []*hcmv3.HttpFilter {
	if len(o.AllowOrigins) == 0 {
		return nil
	}
	value := func(name, format string) *statev3.FilterStateValue {
		return &statev3.FilterStateValue{
			Key:         &statev3.FilterStateValue_ObjectKey{ObjectKey: name},
			FactoryKey:  "envoy.string",
			Value:       &statev3.FilterStateValue_FormatString{FormatString: text(format, "")},
			SkipIfEmpty: true,
		}
	}
	return []*hcmv3.HttpFilter{filter("envoy.filters.http.set_filter_state", &setstatev3.Config{OnRequestHeaders: []*statev3.FilterStateValue{
		value(stateOrigin, allowedOrigin(o)), value(stateExposed, allowedExposed(o)),
	}})}
}

func allowedOrigin(o Options) string { return ifAllowed(o, `request.headers["origin"]`) }

func allowedExposed(o Options) string { return ifAllowed(o, `"`+exposed+`"`) }

// ifAllowed is a CEL expression's value for a request of an origin that may call, else
// nothing.
func ifAllowed(o Options, value string) string {
	return fmt.Sprintf(`%%CEL("origin" in request.headers && request.headers["origin"].matches(%q) ? %s : "")%%`, "^("+originsRegex(o)+")$", value)
}

// toOrigins tells browsers, on every answer, that pages of the origins may read it. An
// empty value is no header.
func toOrigins(o Options) []*mutationv3.HeaderMutation {
	if len(o.AllowOrigins) == 0 {
		return nil
	}
	set := func(h *corev3.HeaderValueOption) *mutationv3.HeaderMutation {
		return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: h}}
	}
	return []*mutationv3.HeaderMutation{
		// Of two on one header the last that is not empty stays: what was remembered, else,
		// for answers to what no filter has seen, what the request says.
		set(overwrite("access-control-allow-origin", allowedOrigin(o))),
		set(overwrite("access-control-allow-origin", "%FILTER_STATE("+stateOrigin+":PLAIN)%")),
		set(overwrite("access-control-expose-headers", allowedExposed(o))),
		set(overwrite("access-control-expose-headers", "%FILTER_STATE("+stateExposed+":PLAIN)%")),
		set(&corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: "vary", Value: "Origin"}, AppendAction: corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD}),
	}
}

// remembered is the same of what was remembered alone.
func remembered() []*corev3.HeaderValueOption {
	return []*corev3.HeaderValueOption{
		overwrite("access-control-allow-origin", "%FILTER_STATE("+stateOrigin+":PLAIN)%"),
		overwrite("access-control-expose-headers", "%FILTER_STATE("+stateExposed+":PLAIN)%"),
	}
}

// toAnyPage lets pages of all origins read an answer to what Envoy has not read, and so does
// not know the origin of: it says nothing of anybody.
func toAnyPage(o Options) []*corev3.HeaderValueOption {
	if len(o.AllowOrigins) == 0 {
		return nil
	}
	return []*corev3.HeaderValueOption{overwrite("access-control-allow-origin", "*"), overwrite("access-control-expose-headers", exposed)}
}

// originsRegex is what the options say of origins as RE2, for the whole of an Origin header:
// a * behind a scheme is for labels, one behind the last colon for the port, or none.
func originsRegex(o Options) string {
	all := make([]string, len(o.AllowOrigins))
	for i, origin := range o.AllowOrigins {
		if origin == "*" {
			return ".+"
		}
		rest, anyPort := strings.CutSuffix(origin, ":*")
		scheme, host, subdomains := strings.Cut(rest, "://*.")
		all[i] = regexp.QuoteMeta(rest)
		if subdomains {
			all[i] = regexp.QuoteMeta(scheme) + `://([a-z0-9_-]+\.)+` + regexp.QuoteMeta(host)
		}
		if anyPort {
			all[i] += `(:[0-9]+)?`
		}
	}
	return strings.Join(all, "|")
}

// originShape is what may be written into a CEL expression and a format of Envoy's: cmd's
// config says better what is wrong.
var originShape = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://(\*\.)?[a-z0-9._:\[\]-]+(:\*)?$`)

// checkOrigin says what is wrong with an origin.
func checkOrigin(origin string) error {
	if origin != "*" && !originShape.MatchString(origin) {
		return fmt.Errorf("allowed origin %q: want scheme://host[:port], or *", origin)
	}
	return nil
}
