package envoy

import (
	"bytes"
	"fmt"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	upstreamcodecv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
)

const (
	listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"

	// The ways out, as Envoy Gateway calls what it makes of the HTTPRoute's first two rules.
	gatewayTLS       = "httproute/default/aisix/rule/0"
	gatewayPlaintext = "httproute/default/aisix/rule/1"
)

// EnvoyPatchPolicy is what Envoy Gateway has no field for, as patches of what it makes of
// the other files of deploy/attach/envoy-gateway, whose names stand here. It is optional:
// docs/attach-envoy-gateway.md says what is different without it.
func EnvoyPatchPolicy(o Options) ([]byte, error) {
	const (
		cluster   = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
		processor = `..http_filters[?(@.name=="` + processorName + `/envoyextensionpolicy/default/aisix/extproc/0")].typed_config`
	)
	list := &yaml.Node{Kind: yaml.SequenceNode}
	add := func(remark, kind, name string, operation ordered, value any) error {
		if m, ok := value.(proto.Message); ok {
			n, err := node(m)
			if err != nil {
				return err
			}
			value = n
		}
		n := ordered{{"type", kind}, {"name", name}, {"operation", append(append(ordered{{"op", "add"}}, operation...), [2]any{"value", value})}}.node()
		n.HeadComment = remark
		list.Content = append(list.Content, n)
		return nil
	}
	err := add("Keeps the length that extproc gives the body that it made: in full duplex it goes to AWS in\nchunks otherwise.",
		listenerType, "default/eg/http", ordered{{"jsonPath", processor}, {"path", "allow_content_length_header"}}, true)
	if err != nil {
		return nil, err
	}
	err = add("A change of headers that Envoy will not make is an error, not ignored.",
		listenerType, "default/eg/http", ordered{{"jsonPath", processor}, {"path", "mutation_rules"}}, &mutationv3.HeaderMutationRules{AllowEnvoy: yes(), DisallowIsError: yes()})
	if err != nil {
		return nil, err
	}
	for _, name := range []string{gatewayTLS, gatewayPlaintext} {
		filters := &yaml.Node{Kind: yaml.SequenceNode}
		for _, f := range cleaning() {
			n, err := node(f)
			if err != nil {
				return nil, err
			}
			filters.Content = append(filters.Content, n)
		}
		err := add("Takes off what leads the way out, last of all: AWS need not see it.", cluster, name,
			ordered{{"path", "/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions/http_filters"}}, filters)
		if err != nil {
			return nil, err
		}
		err = add("Addresses of metadata services are refused, by whatever name they come.", cluster, name,
			ordered{{"path", "/cluster_type/typed_config/dns_cache_config"}}, dnsCache(o))
		if err != nil {
			return nil, err
		}
	}
	return patchPolicy(attached, list, `

What Envoy Gateway has no field for: docs/attach-envoy-gateway.md says what is different without it.
Envoy Gateway's own configuration has to allow it (extensionApis.enableEnvoyPatchPolicy).

Names that change with yours: default/eg/http is namespace, Gateway and listener; default/aisix the
HTTPRoute and the EnvoyExtensionPolicy.`)
}

// EnvoyPatchPolicyEgress adds a whole listener, for what extproc calls itself, where it shares a
// machine or a pod with Envoy.
func EnvoyPatchPolicyEgress(o Options) ([]byte, error) {
	if err := o.checkMeshEgress(); err != nil {
		return nil, fmt.Errorf("envoy patch policy: %w", err)
	}
	// Envoy Gateway's own rule of what its ways out do not lead to: Envoy's machine.
	loopback := &routev3.Route{
		Name:   "loopback",
		Match:  anyPath(header(":authority", matching(`(?i)(localhost|localhost\.localdomain|ip6-localhost|ip6-loopback|127\.0\.0\.1|::1|\[::1\])\.?(:[0-9]+)?`))),
		Action: directResponse(403),
	}
	l := meshEgressListener(o, gatewayTLS, gatewayPlaintext, loopback)
	n, err := node(l)
	if err != nil {
		return nil, err
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	list.Content = append(list.Content, ordered{{"type", listenerType}, {"name", l.Name}, {"operation", ordered{{"op", "add"}, {"path", ""}, {"value", n}}}}.node())
	remark(list)
	return patchPolicy(attached+"-egress", list, `

The egress listener, where extproc shares a machine or a pod with Envoy (extproc-unix.yaml):
docs/attach-envoy-gateway.md says what it is for. It needs aisix.yaml, and no other patches.
Envoy Gateway's own configuration has to allow it (extensionApis.enableEnvoyPatchPolicy).

A name that changes with yours: default/aisix is the HTTPRoute.`)
}

// patchPolicy is one on the page's Gateway.
func patchPolicy(name string, patches *yaml.Node, comment string) ([]byte, error) {
	resource := ordered{
		{"apiVersion", "gateway.envoyproxy.io/v1alpha1"},
		{"kind", "EnvoyPatchPolicy"},
		{"metadata", map[string]any{"name": name, "namespace": "default"}},
		{"spec", ordered{
			{"targetRef", ordered{{"group", "gateway.networking.k8s.io"}, {"kind", "Gateway"}, {"name", "eg"}}},
			{"type", "JSONPatch"},
			{"jsonPatches", patches},
		}},
	}.node()
	resource.HeadComment = generated + comment
	alias(resource, "", map[string]*yaml.Node{})
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(resource); err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}

// cleaning are the filters of a cluster that take off what leads the way out, and what a
// router that is not ours may add.
func cleaning() []*hcmv3.HttpFilter {
	return []*hcmv3.HttpFilter{
		filter("envoy.filters.http.header_mutation", &headermutationv3.HeaderMutation{
			Mutations: &headermutationv3.Mutations{RequestMutations: removePrefixes("x-aisix-", "x-envoy-")},
		}),
		filter("envoy.filters.http.upstream_codec", &upstreamcodecv3.UpstreamCodec{}),
	}
}
