package main

import (
	"errors"
	"fmt"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/networking/core"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/validation"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/test"
	"istio.io/istio/pkg/wellknown"
)

// proxies are those that Istio configures here.
var proxies = map[string]*model.Proxy{
	"gateway": {
		Type: model.Router, ConfigNamespace: "istio-system",
		Labels:   map[string]string{"istio": "ingressgateway"},
		Metadata: &model.NodeMetadata{Namespace: "istio-system", Labels: map[string]string{"istio": "ingressgateway"}, IstioVersion: "1.99.0"},
	},
	"sidecar": {
		Type: model.SidecarProxy, ConfigNamespace: "default",
		Labels:   map[string]string{"app": "web"},
		Metadata: &model.NodeMetadata{Namespace: "default", Labels: map[string]string{"app": "web"}, IstioVersion: "1.99.0"},
	},
}

// istio validates the documents as Istio's webhook does, warnings too, and gives what its control
// plane makes of them.
func istio(proxy string, files []string) ([]byte, error) {
	p := proxies[proxy]
	if p == nil {
		return nil, fmt.Errorf("proxy %q: want gateway or sidecar", proxy)
	}
	o := log.DefaultOptions()
	o.OutputPaths = []string{"stderr"}
	o.SetDefaultOutputLevel(log.OverrideScopeName, log.ErrorLevel)
	if err := log.Configure(o); err != nil {
		return nil, err
	}
	configs, err := read(files)
	if err != nil {
		return nil, err
	}
	var bootstrap *bootstrapv3.Bootstrap
	var inlined error
	err = test.Wrap(func(t test.Failer) {
		cg := core.NewConfigGenTest(t, core.TestOptions{Configs: configs})
		p = cg.SetupProxy(p)
		listeners := cg.Listeners(p)
		bootstrap = &bootstrapv3.Bootstrap{StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Listeners: listeners, Clusters: cg.Clusters(p),
		}}
		inlined = inline(bootstrap.StaticResources, cg.RoutesFromListeners(p, listeners))
	})
	if err := errors.Join(err, inlined); err != nil {
		return nil, err
	}
	return protojson.MarshalOptions{UseProtoNames: true, Multiline: true}.Marshal(bootstrap)
}

// anyFilter begins the one warning that every EnvoyFilter gets.
const anyFilter = "EnvoyFilter exposes internal implementation details"

func read(files []string) ([]config.Config, error) {
	var configs []config.Config
	var all []error
	for _, file := range files {
		documents, err := split(file)
		if err != nil {
			return nil, err
		}
		for i, d := range documents {
			parsed, others, err := crd.ParseInputs(string(d))
			if err == nil && (len(parsed) != 1 || len(others) != 0) {
				err = errors.New("is no resource of Istio's")
			}
			if err == nil {
				s, _ := collections.Pilot.FindByGroupVersionKind(parsed[0].GroupVersionKind)
				var warning validation.Warning
				if warning, err = s.ValidateConfig(parsed[0]); warning != nil && !strings.HasPrefix(warning.Error(), anyFilter) {
					err = errors.Join(err, warning)
				}
			}
			if err != nil {
				all = append(all, fmt.Errorf("%s, document %d: %w", file, i+1, err))
				continue
			}
			configs = append(configs, parsed...)
		}
	}
	return configs, errors.Join(all...)
}

// inline turns what a proxy would fetch into what stands in its start file, and takes out what only
// Istio's own build of Envoy has: filters of statistics and of peers, which no request of ours needs.
func inline(s *bootstrapv3.Bootstrap_StaticResources, routes []*routev3.RouteConfiguration) error {
	byName := map[string]*routev3.RouteConfiguration{}
	for _, r := range routes {
		byName[r.Name] = r
	}
	for _, l := range s.Listeners {
		chains := l.FilterChains
		if l.DefaultFilterChain != nil {
			chains = append(chains, l.DefaultFilterChain)
		}
		for _, c := range chains {
			var filters []*listenerv3.Filter
			for _, f := range c.Filters {
				if istios(f.Name, f.GetTypedConfig()) {
					continue
				}
				if f.Name == wellknown.HTTPConnectionManager {
					m := &hcmv3.HttpConnectionManager{}
					if err := f.GetTypedConfig().UnmarshalTo(m); err != nil {
						return err
					}
					if rds := m.GetRds(); rds != nil {
						r := byName[rds.RouteConfigName]
						if r == nil {
							return fmt.Errorf("no routes %q", rds.RouteConfigName)
						}
						r.ValidateClusters = wrapperspb.Bool(false) // as of routes that are fetched
						m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: r}
					}
					var own []*hcmv3.HttpFilter
					for _, h := range m.HttpFilters {
						if !istios(h.Name, h.GetTypedConfig()) {
							own = append(own, h)
						}
					}
					m.HttpFilters = own
					if err := repack(f, m); err != nil {
						return err
					}
				}
				filters = append(filters, f)
			}
			c.Filters = filters
		}
		var inspectors []*listenerv3.ListenerFilter
		for _, f := range l.ListenerFilters {
			if !istios(f.Name, f.GetTypedConfig()) {
				inspectors = append(inspectors, f)
			}
		}
		l.ListenerFilters = inspectors
	}
	var clusters []*clusterv3.Cluster
	for _, c := range s.Clusters {
		c.Filters = nil // of peers
		if c.GetType() != clusterv3.Cluster_EDS {
			clusters = append(clusters, c)
		}
	}
	s.Clusters = clusters
	return nil
}

func repack(f *listenerv3.Filter, m proto.Message) error {
	a, err := anypb.New(m)
	f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: a}
	return err
}

// istios are the extensions that stock Envoy has not.
func istios(name string, config *anypb.Any) bool {
	url := config.GetTypeUrl()
	return strings.HasPrefix(name, "istio") || strings.Contains(url, "istio.") || strings.Contains(url, "/io.istio") ||
		strings.Contains(url, "peer_metadata") || strings.Contains(url, "metadata_exchange") || strings.Contains(url, "udpa.type.v1.TypedStruct")
}
