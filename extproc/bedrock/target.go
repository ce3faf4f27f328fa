package bedrock

import (
	"net"
	"net/url"
	"regexp"
	"strings"

	"aisix/admin/resource"
	"aisix/extproc/fault"
)

// Target is a model at an upstream that a call may use.
type Target struct {
	ModelID   string // what Bedrock is asked for, verbatim: model id, inference profile id or ARN
	Publisher string // who made the model; "" where the id does not show it
	Region    string // the region that signatures name
	Endpoint  string // replaces https://bedrock-runtime.<region>.amazonaws.com; "" keeps it
	Options   resource.Bedrock
}

// NewTarget is the target of model m with provider key k. modelID is m's
// model_name with a wildcard's capture filled in. The fault is internal: what
// admin accepted is a legal target.
func NewTarget(m *resource.Model, modelID string, k *resource.ProviderKey) (Target, error) {
	t := Target{
		ModelID:   modelID,
		Publisher: m.Publisher,
		Region:    k.Region(),
		Endpoint:  strings.TrimRight(k.APIBase, "/"),
		Options:   m.Bedrock,
	}
	if t.Publisher == "" {
		t.Publisher = Publisher(modelID)
	}
	if _, err := t.base(); err != nil {
		return Target{}, fault.From(err)
	}
	return t, nil
}

const arnPrefix = "arn:"

// geography is the shape of a geography prefix (us, eu, apac, us-gov, …): new
// ones come with new regions. It is one only where a publisher follows.
var geography = regexp.MustCompile(`^(global|apac|[a-z]{2}(-[a-z]{3,4})?)$`)

// publisherName is the shape of a publisher's token.
var publisherName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// Publisher is who made the model: the id's first dotted token after an optional
// geography prefix. Of an ARN the part after the last slash counts. "" where the
// id does not show it (application inference profile, provisioned throughput,
// imported model).
func Publisher(modelID string) string {
	id := modelID
	if strings.HasPrefix(id, arnPrefix) {
		id = id[strings.LastIndexByte(id, '/')+1:]
	}
	first, rest, dotted := strings.Cut(id, ".")
	if !dotted {
		return ""
	}
	if geography.MatchString(first) {
		if next, _, more := strings.Cut(rest, "."); more {
			first = next
		}
	}
	if !publisherName.MatchString(first) {
		return ""
	}
	return first
}

// invokes tells whether requests go to InvokeModel with an Anthropic body rather
// than to Converse.
func (t Target) invokes() bool { return t.Publisher == "anthropic" }

// base is the endpoint as a URL without a trailing slash and without the
// scheme's default port, so that the host signed is the host on the wire.
func (t Target) base() (*url.URL, error) {
	if t.Endpoint == "" {
		return &url.URL{Scheme: "https", Host: "bedrock-runtime." + t.Region + "." + dnsSuffix(t.Region)}, nil
	}
	u, err := url.Parse(t.Endpoint)
	if err != nil {
		return nil, err
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, &url.Error{Op: "parse", URL: t.Endpoint, Err: errEndpoint}
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
