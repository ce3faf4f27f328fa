// Command xds is an example of a control plane that attaches the gateway: it serves the fragments of
// deploy/attach as resources, beside the owner's own, from folders of files, and serves them anew
// when it is sent SIGHUP. Of each folder it reads the four files that hold resources; what is not
// there is not served.
//
//	virtual_hosts.yaml  into the one route configuration (RDS)
//	clusters.yaml       clusters (CDS)
//	http_filters.yaml   each filter by its name, for config_discovery (ECDS)
//	egress.yaml         the listener for extproc's own calls (LDS)
//
// A control plane of one's own does the same with the same messages; docs/attach.md says what its
// Envoys need. It knows no node from another, and speaks without TLS: it is for one machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
)

func main() {
	address := flag.String("address", "127.0.0.1:18000", "where Envoys ask, `host:port`")
	routes := flag.String("routes", "site", "name of the route configuration")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: xds [flags] folder…\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *address, *routes, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "xds:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, address, routes string, folders []string) error {
	resources := cachev3.NewSnapshotCache(true, everyNode{}, nil)
	serve := func() error {
		s, err := snapshot(routes, folders)
		if err != nil {
			return err
		}
		log.Printf("serving %s of %s", s.GetVersion("type.googleapis.com/envoy.config.route.v3.RouteConfiguration"), strings.Join(folders, ", "))
		return resources.SetSnapshot(ctx, everyNode{}.ID(nil), s)
	}
	if err := serve(); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s, serverv3.NewServer(ctx, resources, nil))
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-ctx.Done():
				s.Stop()
				return
			case <-again:
				if err := serve(); err != nil { // what was served before stays
					log.Print(err)
				}
			}
		}
	}()
	return s.Serve(listener)
}

// everyNode is one group of all Envoys.
type everyNode struct{}

func (everyNode) ID(*corev3.Node) string { return "all" }
