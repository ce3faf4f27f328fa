// Package netaddr knows IP addresses that are not what they look like: the spellings
// that a resolver takes, the IPv4 addresses that IPv6 ones stand for, and where clouds
// have their metadata services, which hand out credentials to whoever asks.
//
// It knows no policy. Callers: admin/resource refuses an api_base by it, extproc/fetch
// an image, and envoy writes its blocks into Envoy's configuration.
package netaddr

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Parse reads an IP address in any spelling that a resolver takes: 169.254.1.1 is
// 2851995905 too, and 0xa9.0xfe.1.1. An IPv4-mapped address is the IPv4 one.
func Parse(host string) (netip.Addr, bool) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap(), true
	}
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, part := range parts {
		n, ok := number(part)
		bits := 8
		if i == len(parts)-1 { // the last part fills the rest
			bits = 8 * (5 - len(parts))
		}
		if !ok || n >= 1<<bits {
			return netip.Addr{}, false
		}
		value = value<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

// Numeric reports whether the last label of a host is a number. Such a host is an
// IPv4 address or nothing, and resolvers differ over which: no top-level domain is a
// number.
func Numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	_, ok := number(last)
	return ok || last != "" && strings.Trim(last, "0123456789") == ""
}

// number reads a part of an IPv4 address as inet_aton does: 0x is hexadecimal, a
// leading 0 octal.
func number(part string) (uint64, bool) {
	if strings.Contains(part, "_") || len(part) > 1 && part[0] == '0' && strings.ContainsAny(part[1:2], "bBoO") {
		return 0, false // Go's own spellings
	}
	n, err := strconv.ParseUint(part, 0, 32)
	return n, err == nil
}

// services are where the clouds' metadata services answer. Link-local at large is
// among them: AWS alone has its instances' there at 169.254.169.254, its containers'
// at 169.254.170.2 and .23.
var services = prefixes(
	"169.254.0.0/16",
	"100.100.100.200/32", // Alibaba
	"168.63.129.16/32",   // Azure's platform
	"192.0.0.192/32",     // Oracle, of old
	"fe80::/10",
	"fd00:ec2::/32",          // AWS: ::254 for instances, ::23 for pods
	"fd20:ce::254/128",       // Google
	"fd00:c1::a9fe:a9fe/128", // Oracle
	"fd00:100::100:200/128",  // Alibaba
	"fd00:42::42/128",        // Scaleway
	"fd00:a9fe:a9fe::1/128",  // Linode
)

// names are hosts that are a metadata service inside a cloud.
var names = []string{
	"metadata", "metadata.google.internal", "metadata.goog", // Google
	"instance-data", "instance-data.ec2.internal", // AWS
	"metadata.tencentyun.com",
	"api.metadata.cloud.ibm.com",
}

// Service reports whether a leads to a metadata service, by whichever way.
func Service(a netip.Addr) bool {
	is := func(a netip.Addr) bool {
		return slices.ContainsFunc(services, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	a = a.Unmap().WithZone("") // a prefix contains no address with a zone
	return is(a) || slices.ContainsFunc(carried(a), is)
}

// ServiceName reports whether a host name is a metadata service's. It is given in
// lower case, without a trailing dot.
func ServiceName(host string) bool { return slices.Contains(names, host) }

// ServiceBlocks are the blocks of addresses for which Service is true and that a
// resolver may answer: the services' own, and the IPv4 ones again by every way that a
// network may route.
func ServiceBlocks() []netip.Prefix {
	blocks := slices.Clone(services)
	for _, w := range ways {
		for _, p := range services {
			if w.routed && p.Addr().Is4() {
				blocks = append(blocks, w.block(p))
			}
		}
	}
	return blocks
}

// A way is how IPv4 addresses stand in IPv6 ones.
type way struct {
	within netip.Prefix // the addresses that may be meant so
	at     int          // the byte where the IPv4 address begins
	routed bool
}

// localNAT64 is for a network's own NAT64, whose prefix may have several lengths
// (RFC 8215, RFC 6052).
var localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")

var ways = []way{
	{within: netip.MustParsePrefix("::ffff:0:0/96"), at: 12, routed: true}, // IPv4-mapped
	{within: netip.MustParsePrefix("64:ff9b::/96"), at: 12, routed: true},  // NAT64
	{within: localNAT64, at: 12, routed: true},
	{within: localNAT64, at: 6},
	{within: localNAT64, at: 7},
	{within: localNAT64, at: 9},
	{within: netip.MustParsePrefix("2002::/16"), at: 2, routed: true}, // 6to4
	{within: netip.MustParsePrefix("2001::/32"), at: 4},               // Teredo's server
	{within: netip.MustParsePrefix("::/96"), at: 12},                  // IPv4-compatible
	{within: netip.MustParsePrefix("::ffff:0:0:0/96"), at: 12},        // IPv4-translated
}

// carried are the IPv4 addresses that an IPv6 address may stand for: by mapping, by
// translation, as an end of a tunnel.
func carried(a netip.Addr) (all []netip.Addr) {
	if a.Is4() {
		return nil
	}
	b := a.As16()
	for _, w := range ways {
		if w.within.Contains(a) {
			all = append(all, w.read(b))
		}
	}
	if b[0] == 0x20 && b[1] == 1 && b[2] == 0 && b[3] == 0 { // Teredo's client, inverted
		all = append(all, netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	}
	if b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe { // ISATAP, below any prefix
		all = append(all, netip.AddrFrom4([4]byte(b[12:])))
	}
	return all
}

// read is the IPv4 address in b. Byte 8 is never part of one that stands across it
// (RFC 6052).
func (w way) read(b [16]byte) netip.Addr {
	var v4 [4]byte
	at := w.at
	for i := range v4 {
		if at == 8 {
			at++
		}
		v4[i] = b[at]
		at++
	}
	return netip.AddrFrom4(v4)
}

// block is p by this way.
func (w way) block(p netip.Prefix) netip.Prefix {
	b, v4 := w.within.Addr().As16(), p.Addr().As4()
	copy(b[w.at:], v4[:])
	return netip.PrefixFrom(netip.AddrFrom16(b), 8*w.at+p.Bits())
}

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}
