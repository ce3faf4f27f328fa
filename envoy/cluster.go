package envoy

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	dfpclusterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dynamic_forward_proxy/v3"
	dfpcommonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/dynamic_forward_proxy/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	upstreamsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"aisix/admin/resource/netaddr"
)

// bedrockCluster reaches whatever host extproc has named: with TLS (SNI and the
// certificate's name follow the host) or, for an http:// api_base, in the clear.
func bedrockCluster(o Options, name string) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name:            name,
		ConnectTimeout:  dur(o.ConnectTimeout),
		LbPolicy:        clusterv3.Cluster_CLUSTER_PROVIDED,
		CircuitBreakers: thresholds(o.MaxUpstream),
		ClusterDiscoveryType: &clusterv3.Cluster_ClusterType{ClusterType: &clusterv3.Cluster_CustomClusterType{
			Name: "envoy.clusters.dynamic_forward_proxy",
			TypedConfig: pack(&dfpclusterv3.ClusterConfig{
				ClusterImplementationSpecifier: &dfpclusterv3.ClusterConfig_DnsCacheConfig{DnsCacheConfig: dnsCache(o)},
			}),
		}},
		UpstreamConnectionOptions:     &clusterv3.UpstreamConnectionOptions{TcpKeepalive: keepalive()},
		TypedExtensionProtocolOptions: protocol(toBedrock(o, name, counters(o)...)),
	}
	if name == ClusterTLS {
		tls := &tlsv3.CommonTlsContext{
			TlsParams: &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2, TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3},
		}
		o.trusts(tls, secretUpstreamCA, o.UpstreamCAFile, &tlsv3.CertificateValidationContext{})
		c.TransportSocket = socket(&tlsv3.UpstreamTlsContext{CommonTlsContext: tls})
	}
	return c
}

// toBedrock is HTTP as AWS gets it by the cluster of that name, behind filters of the cluster's
// own, or none.
func toBedrock(o Options, cluster string, filters ...*hcmv3.HttpFilter) *upstreamsv3.HttpProtocolOptions {
	h := &upstreamsv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout: dur(50 * time.Second), // let go before AWS does: a reused dead connection is a failed call
		},
		UpstreamHttpProtocolOptions: &corev3.UpstreamHttpProtocolOptions{AutoSni: true, AutoSanValidation: true},
		HttpFilters:                 filters,
		// HTTP/1.1, as most of AWS's own SDKs talk to Bedrock: one request per connection, so a
		// reset takes nobody else's stream along.
		UpstreamProtocolOptions: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
					HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
				},
			},
		},
	}
	if o.UpstreamHTTP2 && cluster == ClusterTLS { // it takes ALPN, and ALPN takes TLS
		h.UpstreamProtocolOptions = agreed()
	}
	return h
}

// dnsCache must be the same in the filter and in both clusters: they share it
// by name.
func dnsCache(o Options) *dfpcommonv3.DnsCacheConfig {
	c := &dfpcommonv3.DnsCacheConfig{
		Name:            "bedrock",
		DnsLookupFamily: clusterv3.Cluster_V4_PREFERRED,
		DnsQueryTimeout: dur(o.ConnectTimeout),
		DnsCacheCircuitBreaker: &dfpcommonv3.DnsCacheCircuitBreakers{
			MaxPendingRequests: u32(o.MaxUpstream), // requests that wait for the first look-up of a host
		},
	}
	if o.since(39) {
		c.ResolvedAddressFilter = metadataServices()
	}
	return c
}

// metadataServices are the addresses where credentials lie about. No request goes
// there, by whatever name it got the address; the Admin API refuses literal ones
// already.
func metadataServices() *matcherv3.AddressMatcher {
	m := &matcherv3.AddressMatcher{}
	for _, block := range netaddr.ServiceBlocks() {
		m.Ranges = append(m.Ranges, &xdscorev3.CidrRange{AddressPrefix: block.Addr().String(), PrefixLen: u32(block.Bits())})
	}
	return m
}

// CABundle joins PEM bundles into the one that Envoy can take: the public CAs
// and those of private endpoints. An input without a certificate is an error.
func CABundle(bundles ...[]byte) ([]byte, error) {
	var out bytes.Buffer
	for _, b := range bundles {
		found := false
		for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				return nil, errors.New("CA bundle: holds a " + block.Type + ", want certificates only")
			}
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				return nil, err
			}
			if err := pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes}); err != nil {
				return nil, err
			}
			found = true
		}
		if !found {
			return nil, errors.New("CA bundle: no certificate in PEM form")
		}
	}
	return out.Bytes(), nil
}
