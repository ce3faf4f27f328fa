package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	_ "aisix/envoy" // the types that the fragments hold
)

// snapshot is all that the folders hold, under a version that is theirs.
func snapshot(routes string, folders []string) (*cachev3.Snapshot, error) {
	table := &routev3.RouteConfiguration{Name: routes}
	all := map[resourcev3.Type][]types.Resource{}
	version := sha256.New()
	for _, folder := range folders {
		var hosts routev3.RouteConfiguration
		var clusters, listeners bootstrapv3.Bootstrap_StaticResources
		var filters hcmv3.HttpConnectionManager
		for name, into := range map[string]proto.Message{"virtual_hosts.yaml": &hosts, "clusters.yaml": &clusters, "http_filters.yaml": &filters, "egress.yaml": &listeners} {
			if err := read(filepath.Join(folder, name), into); err != nil {
				return nil, err
			}
		}
		table.VirtualHosts = append(table.VirtualHosts, hosts.VirtualHosts...)
		for _, c := range clusters.Clusters {
			all[resourcev3.ClusterType] = append(all[resourcev3.ClusterType], c)
		}
		for _, l := range listeners.Listeners {
			all[resourcev3.ListenerType] = append(all[resourcev3.ListenerType], l)
		}
		for _, f := range filters.HttpFilters {
			all[resourcev3.ExtensionConfigType] = append(all[resourcev3.ExtensionConfigType], &corev3.TypedExtensionConfig{Name: f.Name, TypedConfig: f.GetTypedConfig()})
		}
	}
	all[resourcev3.RouteType] = []types.Resource{table}
	for _, kind := range []resourcev3.Type{resourcev3.ClusterType, resourcev3.ListenerType, resourcev3.RouteType, resourcev3.ExtensionConfigType} {
		for _, r := range all[kind] {
			b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
			if err != nil {
				return nil, err
			}
			version.Write(b)
		}
	}
	return cachev3.NewSnapshot(hex.EncodeToString(version.Sum(nil)[:8]), all)
}

// read is a file's message; without the file it stays empty.
func read(path string, into proto.Message) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var plain any
	if err := yaml.Unmarshal(b, &plain); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if b, err = json.Marshal(plain); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := protojson.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
