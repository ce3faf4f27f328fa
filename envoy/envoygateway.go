package envoy

import (
	"bytes"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	upstreamcodecv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
)

// EnvoyPatchPolicy is what Envoy Gateway has no field for, as patches of what it makes of
// the other files of deploy/attach/envoy-gateway, whose names stand here. It is optional:
// docs/attach-envoy-gateway.md says what is different without it.
func EnvoyPatchPolicy(o Options) ([]byte, error) {
	const (
		listener  = "type.googleapis.com/envoy.config.listener.v3.Listener"
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
		listener, "default/eg/http", ordered{{"jsonPath", processor}, {"path", "allow_content_length_header"}}, true)
	if err != nil {
		return nil, err
	}
	err = add("A change of headers that Envoy will not make is an error, not ignored.",
		listener, "default/eg/http", ordered{{"jsonPath", processor}, {"path", "mutation_rules"}}, &mutationv3.HeaderMutationRules{AllowEnvoy: yes(), DisallowIsError: yes()})
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"httproute/default/aisix/rule/0", "httproute/default/aisix/rule/1"} {
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
	resource := ordered{
		{"apiVersion", "gateway.envoyproxy.io/v1alpha1"},
		{"kind", "EnvoyPatchPolicy"},
		{"metadata", map[string]any{"name": attached, "namespace": "default"}},
		{"spec", ordered{
			{"targetRef", ordered{{"group", "gateway.networking.k8s.io"}, {"kind", "Gateway"}, {"name", "eg"}}},
			{"type", "JSONPatch"},
			{"jsonPatches", list},
		}},
	}.node()
	resource.HeadComment = generated + `

What Envoy Gateway has no field for: docs/attach-envoy-gateway.md says what is different without it.
Envoy Gateway's own configuration has to allow it (extensionApis.enableEnvoyPatchPolicy).

Names that change with yours: default/eg/http is namespace, Gateway and listener; default/aisix the
HTTPRoute and the EnvoyExtensionPolicy.`
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
