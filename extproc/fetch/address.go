package fetch

import (
	"net/netip"

	"aisix/admin/resource/netaddr"
)

// special are address blocks that look public and are not for strangers: they
// lead back into a network, to a cloud's own services, or nowhere. From IANA's
// registries of special-purpose addresses; ranges that netip knows by itself
// (private, loopback, link-local, multicast), and the metadata services that package
// address knows, are not repeated.
var special = prefixes(
	"0.0.0.0/8",         // this network
	"100.64.0.0/10",     // carrier-grade NAT
	"192.0.0.0/24",      // protocol assignments
	"192.0.2.0/24",      // documentation
	"192.31.196.0/24",   // AS112
	"192.52.193.0/24",   // AMT
	"192.88.99.0/24",    // 6to4 relays
	"192.175.48.0/24",   // AS112
	"198.18.0.0/15",     // benchmarks
	"198.51.100.0/24",   // documentation
	"203.0.113.0/24",    // documentation
	"240.0.0.0/4",       // reserved, broadcast
	"2001::/23",         // protocol assignments, Teredo among them, which holds IPv4 addresses
	"2001:db8::/32",     // documentation
	"2002::/16",         // 6to4, which holds IPv4 addresses
	"2620:4f:8000::/48", // AS112
	"3fff::/20",         // documentation
)

// unicast6 is all of IPv6 that is given out. NAT64 (64:ff9b::/96), unique local
// addresses and IPv4-compatible ones lie outside.
var unicast6 = netip.MustParsePrefix("2000::/3")

// public reports whether a is an address that a caller may send us to.
func public(a netip.Addr) bool {
	a = a.Unmap() // ::ffff:10.0.0.1 reaches 10.0.0.1
	if !a.IsValid() || a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() || netaddr.Service(a) {
		return false
	}
	if a.Is6() && !unicast6.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}
