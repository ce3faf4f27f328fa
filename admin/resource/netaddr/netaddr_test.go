package netaddr

import (
	"net/netip"
	"testing"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1":               "10.0.0.1",
		"169.254.169.254":        "169.254.169.254",
		"2852039166":             "169.254.169.254",
		"0xa9fea9fe":             "169.254.169.254",
		"0xa9.0xfe.0xa9.0xfe":    "169.254.169.254",
		"0XA9.0376.43518":        "169.254.169.254",
		"0251.0376.0251.0376":    "169.254.169.254",
		"169.16689662":           "169.254.169.254",
		"127.1":                  "127.0.0.1",
		"0":                      "0.0.0.0",
		"::ffff:169.254.169.254": "169.254.169.254",
		"fe80::1%eth0":           "fe80::1%eth0",
	} {
		if got, ok := Parse(text); !ok || got.String() != want {
			t.Errorf("%s: %v, %v, want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"", ".", "1.2.3.4.5", "256.1.1.1", "1.2.3.256", "4294967296", "08.1.1.1", "0x", "0o12.1.1.1", "0b1.1.1.1", "1_0.1.1.1", "0x1_0.1",
		"+1.1.1.1", "-1", "1.2.3.4.", "1..2", "a.b", "localhost", "[::1]", "1.2.3.4:80"} {
		if got, ok := Parse(text); ok {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestNumeric(t *testing.T) {
	for _, host := range []string{"1", "127.1", "1.2.3.4.5", "7147006462", "a.256", "example.0xff", "08.09", "0x1"} {
		if !Numeric(host) {
			t.Errorf("%s is not numeric", host)
		}
	}
	for _, host := range []string{"", "a", "1a", "1.2.3.4.", "10.example", "0xg", "1.a1", "::1"} {
		if Numeric(host) {
			t.Errorf("%s is numeric", host)
		}
	}
}

func TestMetadataServicesByEveryWay(t *testing.T) {
	for _, text := range []string{
		"169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.0.0", "169.254.255.255", "100.100.100.200", "168.63.129.16", "192.0.0.192",
		"fe80::1", "fe80::1%eth0", "febf::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:100::100:200", "fd00:42::42", "fd00:a9fe:a9fe::1",
		"::ffff:169.254.169.254", "::ffff:100.100.100.200", "::169.254.169.254", "::168.63.129.16", "::ffff:0:169.254.169.254",
		"64:ff9b::169.254.169.254", "64:ff9b::192.0.0.192",
		"64:ff9b:1::169.254.169.254", "64:ff9b:1:ffff:0:1:168.63.129.16", // /96, whatever stands before
		"64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:1:a9:fea9:fe00:0", // /48, /56, /64
		"2002:a9fe:a9fe::1", "2002:a83f:8110:1:2:3:4:5", "2002:6464:64c8::",
		"2001:0:a9fe:a9fe::1", "2001:0:1:2:3:4:5601:5601", // Teredo: server, client
		"2600::5efe:a9fe:a9fe", "2600::200:5efe:169.254.169.254", // ISATAP
	} {
		if !Service(netip.MustParseAddr(text)) {
			t.Errorf("%s leads to no metadata service", text)
		}
	}
	for _, text := range []string{
		"127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.253.255.255", "169.255.0.0", "168.63.129.17", "192.0.0.191", "8.8.8.8", "0.0.0.0",
		"::", "::1", "fd00::1", "fd00:ec3::254", "fd20:ce::253", "fec0::1", "2600::1", "2606:4700::1111",
		"::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::10.0.0.1", "2002:a00:1::1", "2001:0:1:2:3:4:5:6", "2600::5efe:a00:1",
	} {
		if Service(netip.MustParseAddr(text)) {
			t.Errorf("%s leads to a metadata service", text)
		}
	}
	if Service(netip.Addr{}) {
		t.Error("no address leads to a metadata service")
	}
}

// The first and the last address of every block are a service's, and so is every
// service's by each way that is routed.
func TestServiceBlocks(t *testing.T) {
	blocks := ServiceBlocks()
	for _, p := range blocks {
		if p != p.Masked() {
			t.Errorf("%v has bits beyond its length", p)
		}
		b := p.Addr().As16()
		from := p.Bits()
		if p.Addr().Is4() {
			from += 96
		}
		for bit := from; bit < 128; bit++ {
			b[bit/8] |= 0x80 >> (bit % 8)
		}
		for _, a := range []netip.Addr{p.Addr(), netip.AddrFrom16(b)} {
			if !Service(a) {
				t.Errorf("%v of %v is no service's", a, p)
			}
		}
	}
	for _, text := range []string{"169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "2002:6464:64c8:1::", "::ffff:168.63.129.16", "fe80::1", "fd00:ec2::23"} {
		a, found := netip.MustParseAddr(text), 0
		for _, p := range blocks {
			if p.Contains(a) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%s stands in %d blocks", text, found)
		}
	}
}

func TestServiceName(t *testing.T) {
	if !ServiceName("metadata.google.internal") || !ServiceName("instance-data") || ServiceName("bedrock-runtime.us-east-1.amazonaws.com") || ServiceName("") {
		t.Error("names of metadata services")
	}
}
