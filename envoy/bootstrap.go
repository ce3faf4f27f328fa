// Package envoy builds the configuration of the Envoy that carries this
// gateway: the listener for callers, the ext_proc filter that asks extproc, the
// clusters that reach Bedrock, and Envoy's own answers in the contract's shape.
//
// It is pure: the same Options give the same bytes. It knows Envoy's
// configuration protos and nothing of models, keys or AWS, and it starts
// nothing. The launcher of `make run` calls Bootstrap; deploy/bootstrap.yaml and
// the fragments below deploy/attach are its output, written by make generate.
package envoy

import (
	"fmt"
	"strings"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Names that extproc, the fragments and operators' statistics meet.
const (
	EgressHeader     = "x-aisix-egress" // set by extproc, picks the cluster; stripped from callers
	HostHeader       = "x-aisix-host"   // set by extproc, names the upstream; stripped from callers
	EgressTLS        = "tls"
	EgressPlaintext  = "plaintext"
	SecretHeader     = "x-aisix-egress-secret" // proves extproc to the egress listener
	RequestIDHeader  = "x-aisix-request-id"
	DetailsHeader    = "x-aisix-details" // of Envoy's own answers, and of all by the egress listener; for extproc alone
	ClusterTLS       = "bedrock_tls"
	ClusterPlaintext = "bedrock_plaintext"
	ClusterExtProc   = "extproc"
	ClusterProbe     = "extproc_probe"
	// ClusterConnections is there where several extprocs are, and one of them counts
	// callers' connections.
	ClusterConnections = "extproc_connections"
)

// What extproc tells Envoy's own answers of a request that has gone on, as dynamic metadata.
const (
	OwnNamespace  = "aisix"
	OwnDoor       = "door"
	OwnRequestID  = "request_id"
	DoorAnthropic = "anthropic"
)

// Bootstrap is Envoy's start file as YAML. Errors say which options are wrong,
// all of them.
func Bootstrap(o Options) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("envoy bootstrap: %w", err)
	}
	return render(bootstrap(o))
}

func bootstrap(o Options) *bootstrapv3.Bootstrap {
	b := &bootstrapv3.Bootstrap{
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Listeners: []*listenerv3.Listener{listener(o)},
			Clusters:  clusters(o),
		},
		OverloadManager: overload(o),
		Watchdogs:       watchdogs(),
		LayeredRuntime:  runtimeLayer(o),
	}
	if o.hasSecrets() {
		b.Node = &corev3.Node{Id: "aisix", Cluster: "aisix"} // Envoy has to have a name to ask for secrets, of files too
	}
	if o.Egress != "" {
		b.StaticResources.Listeners = append(b.StaticResources.Listeners, egressListener(o))
	}
	if o.StatisticsListen != "" {
		b.StaticResources.Listeners = append(b.StaticResources.Listeners, statisticsListener(o))
		b.StaticResources.Clusters = append(b.StaticResources.Clusters, adminCluster(o))
	}
	if o.AdminSocket != "" {
		b.Admin = &bootstrapv3.Admin{Address: &corev3.Address{Address: &corev3.Address_Pipe{
			Pipe: &corev3.Pipe{Path: o.AdminSocket, Mode: 0o600},
		}}}
	}
	return b
}

// watchdogs look seldom. All that they do is count threads that are stuck, and at
// Envoy's own pace (200 ms) they make most of the wake-ups of an idle gateway.
func watchdogs() *bootstrapv3.Watchdogs {
	w := &bootstrapv3.Watchdog{MissTimeout: dur(5 * time.Second), MegamissTimeout: dur(10 * time.Second)}
	return &bootstrapv3.Watchdogs{MainThreadWatchdog: w, WorkerWatchdog: w}
}

// clusters in the order in which they are read best.
func clusters(o Options) []*clusterv3.Cluster {
	all := []*clusterv3.Cluster{
		extprocCluster(o, ClusterExtProc, o.MaxUpstream),
		bedrockCluster(o, ClusterTLS), bedrockCluster(o, ClusterPlaintext),
		extprocCluster(o, ClusterProbe, maxProbes),
	}
	if o.MaxPerAddress > 0 && countingCluster(o) != ClusterExtProc {
		all = append(all, counting(o))
	}
	return all
}

// pack wraps m for a typed_config. It fails only for a message that is not
// valid UTF-8, which check rules out: a broken build otherwise.
func pack(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}

// address of "host:port" or "unix:/path"; check has seen it.
func address(s string) *corev3.Address {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path}}}
	}
	host, port := split(s)
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       host,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}

func file(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}

func dur(d time.Duration) *durationpb.Duration { return durationpb.New(d) }
func yes() *wrapperspb.BoolValue               { return wrapperspb.Bool(true) }
func u32[N int | int64](n N) *wrapperspb.UInt32Value {
	return wrapperspb.UInt32(uint32(n))
}
