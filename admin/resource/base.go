package resource

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
	ip, isIP := address(host)
	switch {
	case isIP && linkLocal(ip):
		return "", "must not be a link-local address"
	case strings.HasPrefix(u.Host, "["):
		if !isIP || ip.Zone() != "" {
			return "", "must be an http or https origin"
		}
		host = "[" + ip.String() + "]"
	case isIP:
		host = ip.String()
	case !hostShape.MatchString(host), len(host) > 253:
		return "", "must be an http or https origin"
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

// address reads an IP address in any spelling that a resolver takes: 169.254.1.1
// is 2851995905 too, and 0xa9.0xfe.1.1.
func address(host string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap(), true
	}
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 0, 32)
		if err != nil || strings.ContainsAny(part, "_b") && !strings.HasPrefix(part, "0x") || strings.HasPrefix(part, "0o") {
			return netip.Addr{}, false
		}
		bits := 8
		if i == len(parts)-1 { // the last part fills the rest
			bits = 8 * (5 - len(parts))
		}
		if n >= 1<<bits {
			return netip.Addr{}, false
		}
		value = value<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

var (
	ec2Metadata = netip.MustParseAddr("fd00:ec2::254") // the metadata service's IPv6 address, unique local but not link-local
	nat64       = netip.MustParsePrefix("64:ff9b::/96")
)

func linkLocal(ip netip.Addr) bool {
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	return ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.WithZone("") == ec2Metadata
}
