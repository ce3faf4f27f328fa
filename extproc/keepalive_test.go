package extproc_test

import (
	"bytes"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"aisix/extproc"
)

// Envoy pings extproc as often as its configuration says, with calls in flight
// and without any: each ping is answered, and the connection stays. (gRPC's own
// policy is one in five minutes, and the third too many ends the connection.)
func TestPingsAreAnswered(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	g := extproc.New(extproc.Parts{}).GRPC(nil)
	served := make(chan struct{})
	go func() { defer close(served); g.Serve(l) }() //nolint:errcheck // it ends with Stop
	t.Cleanup(func() { g.Stop(); <-served })

	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	f := http2.NewFramer(c, c)
	io.WriteString(c, http2.ClientPreface)
	f.WriteSettings()
	const pings = 50
	ping := func() {
		t.Helper()
		for i := range pings {
			if err := f.WritePing(false, [8]byte{byte(i)}); err != nil {
				t.Fatal(err)
			}
			for acked := false; !acked; {
				frame, err := f.ReadFrame()
				if err != nil {
					t.Fatalf("ping %d: %v", i, err)
				}
				switch frame := frame.(type) {
				case *http2.GoAwayFrame:
					t.Fatalf("ping %d: the connection is ended: %v %s", i, frame.ErrCode, frame.DebugData())
				case *http2.PingFrame:
					acked = frame.IsAck()
				}
			}
		}
	}
	ping()
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, kv := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/envoy.service.ext_proc.v3.ExternalProcessor/Process"},
		{":authority", "x"}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
		e.WriteField(hpack.HeaderField{Name: kv[0], Value: kv[1]})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	ping()
}
