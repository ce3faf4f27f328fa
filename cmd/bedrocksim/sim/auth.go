package sim

import (
	"errors"
	"net/http"
	"strings"

	"aisix/cmd/bedrocksim/sigv4"
)

// APIKey is a Bedrock API key: a bearer token in place of a signature.
type APIKey struct {
	Secret  string
	Expired bool // a short-term key past its time
}

// PlaceholderAPIKey is taken from the start, as the placeholders of the documentation page are.
const PlaceholderAPIKey = "YOUR_BEDROCK_API_KEY"

// Take adds Bedrock API keys to those that are good.
func (s *Server) Take(keys ...APIKey) { s.keys = append(s.keys, keys...) }

// caller is who asked, and which of the two hosts.
type caller struct {
	sigv4.Signer
	host string // "" where only the model can tell
}

// authenticate finds out who asks. A wrong signature is 403 in AWS's words on both hosts; a bad API key
// is 403 on the runtime host (anomalyco/opencode issue 47073) and 401 on mantle (NousResearch/hermes-agent
// issue 87190).
func (s *Server) authenticate(r *http.Request, body []byte, d door) (caller, *fault) {
	hosts := d.narrow(r)
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	// On the Anthropic path the key may come as Anthropic's clients send theirs.
	if key := r.Header.Get("X-Api-Key"); key != "" && (d.api == apiMessages || d.api == apiCountClaude) {
		if scheme != "" {
			return caller{host: hosts[0]}, &fault{status: http.StatusUnauthorized, kind: "UnrecognizedClientException", message: "x-api-key and Authorization are both set"}
		}
		return s.bearer(r, key, hosts)
	}
	if strings.EqualFold(scheme, "Bearer") {
		return s.bearer(r, token, hosts)
	}
	var names []string
	for _, h := range hosts {
		names = append(names, services[h])
	}
	signer, err := s.verifier.Verify(r, body, names...)
	if err != nil {
		e := new(sigv4.Error)
		if !errors.As(err, &e) {
			panic(err)
		}
		return caller{host: hosts[0]}, &fault{status: e.Status, kind: e.Type, message: e.Message}
	}
	host := runtimeHost
	if signer.Service == services[mantleHost] {
		host = mantleHost
	}
	return caller{signer, host}, nil
}

func (s *Server) bearer(r *http.Request, token string, hosts []string) (caller, *fault) {
	_, region := hostOf(r.Host)
	c := caller{Signer: sigv4.Signer{AccessKeyID: "api key", Region: or(region, or(s.verifier.Region, "us-east-1"))}}
	if len(hosts) == 1 {
		c.host = hosts[0]
	}
	for _, k := range append([]APIKey{{Secret: PlaceholderAPIKey}}, s.keys...) {
		switch {
		case k.Secret != token:
		case k.Expired:
			return c, &fault{status: http.StatusForbidden, kind: "ExpiredTokenException", message: "The security token included in the request is expired"}
		default:
			return c, nil
		}
	}
	if c.host == mantleHost || c.host == "" && prefix(r) == "/v1" {
		return c, &fault{status: http.StatusUnauthorized, kind: "UnrecognizedClientException", message: "Invalid bearer token", code: "invalid_api_key"}
	}
	return c, &fault{status: http.StatusForbidden, kind: "AccessDeniedException", message: "Authentication failed: Please make sure your API Key is valid.", bare: true}
}
