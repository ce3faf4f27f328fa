package resource

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"aisix/admin/resource/netaddr"
)

var (
	hostShape = regexp.MustCompile(`^[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?$`)
	pathShape = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)
)

// cleanBase checks an api_base, an origin with an optional path prefix, and gives
// it in its one spelling: lower case, no trailing slash. problem is "" if it is
// well.
func cleanBase(raw string) (base, problem string) {
	if len(raw) > maxModelID {
		return "", "is too long"
	}
	if strings.ContainsAny(raw, "?#") {
		return "", "must not have a query or a fragment"
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Opaque != "" || u.Host == "" {
		return "", "must be an http or https origin"
	}
	if u.User != nil {
		return "", "must not have user info"
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	ip, isIP := netaddr.Parse(host)
	if isIP {
		if problem := checkAddress(ip); problem != "" {
			return "", problem
		}
	}
	switch {
	case isIP && ip.Is6() && ip.Zone() == "":
		host = "[" + ip.String() + "]"
	case isIP && ip.Is4():
		host = ip.String()
	case strings.HasPrefix(u.Host, "["):
		return "", "must be an http or https origin"
	case netaddr.ServiceName(host):
		return "", "must not be the name of a cloud's metadata service"
	case strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }):
		return "", "must have an ASCII host: write an internationalized name as xn--…"
	case !hostShape.MatchString(host), len(host) > 253, strings.Contains(host, ".."), netaddr.Numeric(host):
		return "", "must have a host name or an IP address"
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", "has a port out of range"
		}
		host += ":" + port
	} else if strings.HasSuffix(u.Host, ":") {
		return "", "has an empty port"
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	if !pathShape.MatchString(path) || slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return s == "." || s == ".." }) {
		return "", "has a path that is no plain prefix"
	}
	return u.Scheme + "://" + host + path, ""
}

// checkAddress tells what is wrong with an address as an upstream's, "" if nothing
// is. Loopback and private networks are where private endpoints are.
func checkAddress(ip netip.Addr) string {
	switch {
	case ip.IsLinkLocalUnicast():
		return "must not be a link-local address"
	case netaddr.Service(ip):
		return "must not be the address of a cloud's metadata service"
	case thisNetwork.Contains(ip), ip.IsUnspecified(), ip.IsMulticast(), ip == broadcast:
		return "must be the address of one host: not an unspecified, multicast or broadcast address"
	}
	return ""
}

var (
	thisNetwork = netip.MustParsePrefix("0.0.0.0/8")
	broadcast   = netip.AddrFrom4([4]byte{255, 255, 255, 255})
)
