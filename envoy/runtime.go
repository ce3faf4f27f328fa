package envoy

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// runtimeLayer is what an Envoy of the version has to be told beside its configuration, nil if
// nothing. Envoy 1.36 does not show ext_proc the answers that it makes itself unless it is told so: an
// upstream that can't be reached would look like a caller who left, and no other target be asked. All
// others do, and know no such switch.
func runtimeLayer(o Options) *bootstrapv3.LayeredRuntime {
	if o.since(37) {
		return nil
	}
	return &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{{
		Name: "aisix_local_replies",
		LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: &structpb.Struct{Fields: map[string]*structpb.Value{
			"envoy.reloadable_features.skip_ext_proc_on_local_reply": structpb.NewBoolValue(false),
		}}},
	}}}
}
