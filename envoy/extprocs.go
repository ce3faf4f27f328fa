package envoy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Several extprocs, of which each may go away at any time: who they are, which of
// them get new calls, and how Envoy speaks to them over a network.

// extprocs are all addresses, the first one first.
func (o Options) extprocs() []string { return append([]string{o.ExtProc}, o.MoreExtProcs...) }

// named reports whether a name stands in an address: one that may have many addresses,
// which change, as a headless service of Kubernetes has.
func (o Options) named() bool {
	return slices.ContainsFunc(o.extprocs(), func(address string) bool {
		host, _ := split(address)
		_, err := netip.ParseAddr(host)
		return host != "" && err != nil
	})
}

// split is host and port of "host:port"; no host of "unix:/path", and of what is neither.
func split(address string) (host string, port uint16) {
	if strings.HasPrefix(address, "unix:") {
		return "", 0
	}
	host, number, err := net.SplitHostPort(address)
	n, numberErr := strconv.ParseUint(number, 10, 16)
	if err != nil || numberErr != nil {
		return "", 0
	}
	return host, uint16(n)
}

// checkExtProcs reports what is wrong with the addresses.
func (o Options) checkExtProcs() (errs []error) {
	seen, sockets := map[string]bool{}, 0
	for _, address := range o.extprocs() {
		path, isSocket := strings.CutPrefix(address, "unix:")
		host, _ := split(address)
		ip, err := netip.ParseAddr(host)
		switch {
		case isSocket && !filepath.IsAbs(path):
			errs = append(errs, fmt.Errorf("extproc %q: want unix:/absolute/path", address))
		case isSocket:
			sockets++
		case host == "":
			errs = append(errs, fmt.Errorf("extproc %q: want host:port or unix:/absolute/path", address))
		case o.ExtProcCAFile == "" && (err != nil || !ip.IsLoopback()):
			errs = append(errs, fmt.Errorf("extproc %q: neither a socket nor an address of loopback: it takes mutual TLS", address))
		}
		if seen[address] {
			errs = append(errs, fmt.Errorf("extproc %q: named twice", address))
		}
		seen[address] = true
	}
	if (o.ExtProcCAFile == "") != (o.ExtProcCertFile == "") || (o.ExtProcCertFile == "") != (o.ExtProcKeyFile == "") {
		errs = append(errs, errors.New("mutual TLS with extproc: CA, certificate and key go together"))
	}
	if sockets > 0 && (o.named() || o.ExtProcCAFile != "") {
		errs = append(errs, errors.New("extproc: Unix sockets can't be mixed with host names, and take no TLS"))
	}
	return errs
}

func endpoints(o Options) []*endpointv3.LocalityLbEndpoints {
	var all []*endpointv3.LbEndpoint
	for _, a := range o.extprocs() {
		all = append(all, &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address(a)}}})
	}
	return []*endpointv3.LocalityLbEndpoints{{LbEndpoints: all}}
}

// readiness asks by gRPC what /readyz tells the others. A clear no counts at once; two
// questions without an answer count as one.
func readiness(o Options) *corev3.HealthCheck {
	return &corev3.HealthCheck{
		Interval: dur(o.HealthInterval),
		Timeout:  dur(min(o.HealthInterval, time.Second)),
		// Before the first call too: Envoy's own is a minute.
		NoTrafficInterval:  dur(o.HealthInterval),
		UnhealthyThreshold: wrapperspb.UInt32(2),
		HealthyThreshold:   wrapperspb.UInt32(1),
		HealthChecker:      &corev3.HealthCheck_GrpcHealthCheck_{GrpcHealthCheck: &corev3.HealthCheck_GrpcHealthCheck{}},
	}
}

// unreachable leaves an extproc out, for some seconds, to which two connections in a
// row could not be made. What it answers never counts: callers could bring that about.
func unreachable(Options) *clusterv3.OutlierDetection {
	off := wrapperspb.UInt32(0)
	return &clusterv3.OutlierDetection{
		SplitExternalLocalOriginErrors:     true,
		ConsecutiveLocalOriginFailure:      wrapperspb.UInt32(2),
		EnforcingConsecutive_5Xx:           off,
		EnforcingConsecutiveGatewayFailure: off,
		EnforcingSuccessRate:               off,
		EnforcingLocalOriginSuccessRate:    off,
		EnforcingFailurePercentage:         off,
		Interval:                           dur(5 * time.Second),
		BaseEjectionTime:                   dur(5 * time.Second),
		MaxEjectionTime:                    dur(5 * time.Second), // a health check that succeeds ends it sooner
		MaxEjectionPercent:                 wrapperspb.UInt32(100),
	}
}

// toExtProc is mutual TLS. The certificate of each must be for the host of the first
// address: they are copies of one.
func toExtProc(o Options) *tlsv3.UpstreamTlsContext {
	host, _ := split(o.ExtProc)
	tls := &tlsv3.CommonTlsContext{
		TlsParams:     &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2, TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3},
		AlpnProtocols: []string{"h2"},
	}
	o.shows(tls, secretExtProc, o.ExtProcCertFile, o.ExtProcKeyFile)
	c := &tlsv3.UpstreamTlsContext{CommonTlsContext: tls}
	var names []*tlsv3.SubjectAltNameMatcher
	name := func(kind tlsv3.SubjectAltNameMatcher_SanType, host string) {
		names = append(names, &tlsv3.SubjectAltNameMatcher{SanType: kind, Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: host}}})
	}
	if ip, err := netip.ParseAddr(host); err != nil {
		c.Sni = host
		name(tlsv3.SubjectAltNameMatcher_DNS, host)
	} else {
		name(tlsv3.SubjectAltNameMatcher_IP_ADDRESS, host)
		if ip.IsLoopback() { // what was localhost before it became an address
			name(tlsv3.SubjectAltNameMatcher_DNS, "localhost")
		}
	}
	o.trusts(tls, secretExtProcCA, o.ExtProcCAFile, &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: names})
	return c
}
