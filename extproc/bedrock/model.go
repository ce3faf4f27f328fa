package bedrock

import (
	"encoding/json"
	"net"
	"net/url"
	"slices"
	"strings"

	"aisix/admin/resource"
	"aisix/extproc/fault"
)

// Model is a model at an upstream, compiled: what no request changes about a call.
// It never changes and serves any number of calls at a time.
type Model struct {
	ID        string // what Bedrock is asked for, verbatim: model id, inference profile id or ARN
	Publisher string // who made the model; "" where the id does not show it
	Region    string // the region that signatures name

	api        api
	host       host
	addressed  [operations]address
	family     *family   // shared, never changed: what is known of the model by its API, the resource's own capabilities over it
	embedder   *embedder // what is known of it as a model of embeddings; nil where it is none
	options    resource.Bedrock
	additional map[string]json.RawMessage // options.AdditionalModelRequestFields by member
	refused    []string                   // flags of anthropic-beta (Without)
	origin     *Model                     // nil of one that Compile made
}

// Compile makes the Model of the resource m with provider key k, once per revision
// of the two. modelID is m's model_name with a wildcard's capture filled in. The
// error is internal: what admin accepted compiles.
func Compile(m *resource.Model, modelID string, k *resource.ProviderKey) (*Model, error) {
	c := &Model{ID: modelID, Publisher: m.Publisher, Region: or(m.Region, k.Region()), options: m.Bedrock}
	if c.Publisher == "" {
		c.Publisher = resource.Publisher(modelID)
	}
	base := baseID(modelID, c.Publisher)
	c.embedder = embedderOf(base)
	c.settleAPI(m, knownFamily(base, ""))
	if m.Capabilities == nil {
		c.family = knownFamily(base, c.api.String())
	} else {
		own := familyOf(base, c.api.String()) // overlay writes into what is there
		c.family = &own
		own.overlay(object(map[string]json.RawMessage{"capabilities": marshal(m.Capabilities)}))
	}
	origin, err := endpoint(k.APIBase, c.Region, c.host)
	if err != nil {
		return nil, fault.From(err)
	}
	c.addressed = c.addresses(origin)
	if raw := m.AdditionalModelRequestFields; len(raw) > 0 {
		if err := json.Unmarshal(raw, &c.additional); err != nil {
			return nil, fault.From(err)
		}
	}
	return c, nil
}

// ignores reports whether the operator has a request's parameter taken as absent.
func (m *Model) ignores(param string) bool { return slices.Contains(m.options.IgnoreParams, param) }

// endpoint is apiBase, or the public endpoint of the region's host where it is "",
// without a trailing slash and without the scheme's default port, so that the host signed
// is the host on the wire.
func endpoint(apiBase, region string, at host) (*url.URL, error) {
	if apiBase == "" {
		name := "bedrock-runtime." + region + "." + dnsSuffix(region)
		if at == mantleHost {
			name = "bedrock-mantle." + region + ".api.aws"
		}
		return &url.URL{Scheme: "https", Host: name}, nil
	}
	u, err := url.Parse(apiBase)
	if err != nil {
		return nil, err
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, &url.Error{Op: "parse", URL: apiBase, Err: errEndpoint}
	}
	if (u.Scheme == "https" && u.Port() == "443") || (u.Scheme == "http" && u.Port() == "80") {
		host := u.Hostname()
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		u.Host = host
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = strings.TrimRight(u.RawPath, "/")
	return u, nil
}

var errEndpoint = net.InvalidAddrError("an endpoint is an http or https origin")

// dnsSuffix is the domain of the region's partition (China has its own).
func dnsSuffix(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}
