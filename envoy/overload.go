package envoy

import (
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	downstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	heapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	"google.golang.org/protobuf/proto"
)

const heapMonitor = "envoy.resource_monitors.fixed_heap"

// overload is what all callers together may take: connections, and memory. An
// Envoy that the kernel kills for its memory takes every call along; this one
// refuses new calls first (503), and then breaks off those that hold most.
func overload(o Options) *overloadv3.OverloadManager {
	return &overloadv3.OverloadManager{
		ResourceMonitors: []*overloadv3.ResourceMonitor{
			monitor("envoy.resource_monitors.global_downstream_max_connections", &downstreamv3.DownstreamConnectionsConfig{
				MaxActiveDownstreamConnections: int64(o.MaxConnections),
			}),
			monitor(heapMonitor, &heapv3.FixedHeapConfig{MaxHeapSizeBytes: uint64(o.MaxMemoryBytes)}),
		},
		Actions: []*overloadv3.OverloadAction{
			{Name: "envoy.overload_actions.shrink_heap", Triggers: []*overloadv3.Trigger{above(0.9)}},
			{Name: "envoy.overload_actions.stop_accepting_requests", Triggers: []*overloadv3.Trigger{above(0.95)}},
			{Name: "envoy.overload_actions.reset_high_memory_stream", Triggers: []*overloadv3.Trigger{between(0.97, 1)}},
		},
		BufferFactoryConfig: &overloadv3.BufferFactoryConfig{MinimumAccountToTrackPowerOfTwo: 20}, // streams of 1 MiB and more are worth ending
	}
}

func monitor(name string, m proto.Message) *overloadv3.ResourceMonitor {
	return &overloadv3.ResourceMonitor{Name: name, ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: pack(m)}}
}

// above acts while more than this part of the heap is filled.
func above(part float64) *overloadv3.Trigger {
	return &overloadv3.Trigger{Name: heapMonitor, TriggerOneof: &overloadv3.Trigger_Threshold{
		Threshold: &overloadv3.ThresholdTrigger{Value: part},
	}}
}

// between acts the more, the closer to all.
func between(part, all float64) *overloadv3.Trigger {
	return &overloadv3.Trigger{Name: heapMonitor, TriggerOneof: &overloadv3.Trigger_Scaled{
		Scaled: &overloadv3.ScaledTrigger{ScalingThreshold: part, SaturationThreshold: all},
	}}
}
