package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// framing is an upstream over TLS that speaks HTTP/2 frame by frame, so that it can do what no
// library's server does.
type framing struct {
	URL      string
	does     func(*framedCall) // with each request, once it is whole
	begins   func(*framedCall) // with each, at its headers
	settings []http2.Setting
	deaf     func(*framedConn) <-chan struct{} // asked with each frame: not read before it is closed

	mu          sync.Mutex
	connections []*framedConn
	requests    []*framedCall
}

// framedConn is one connection of it.
type framedConn struct {
	net.Conn
	of *framing

	mu      sync.Mutex // of what is written
	framer  *http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer

	streams map[uint32]*framedCall // the reader's own
}

// framedCall is a request, and the stream that it came by.
type framedCall struct {
	*framedConn
	id     uint32
	fields []hpack.HeaderField
	body   []byte
	ended  context.Context // by the other end: RST_STREAM, or with the connection
	end    context.CancelCauseFunc
}

// ofLocalhost is a certificate of upstreams over TLS that have a name.
var ofLocalhost = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour), DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// errReset is that the other end reset a stream.
type errReset http2.ErrCode

func (e errReset) Error() string { return "RST_STREAM " + http2.ErrCode(e).String() }

// newFraming starts one. begins and does may be nil.
func newFraming(t *testing.T, f *framing) *framing {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{ofLocalhost()}, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	f.URL = strings.Replace("https://"+l.Addr().String(), "127.0.0.1", "localhost", 1)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { f.serve(nc) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.mu.Lock()
		for _, c := range f.connections {
			c.Close()
		}
		f.mu.Unlock()
		all.Wait()
	})
	return f
}

func (f *framing) serve(nc net.Conn) {
	defer nc.Close()
	nc.SetReadDeadline(time.Now().Add(time.Minute))
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(nc, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	c := &framedConn{Conn: nc, of: f, framer: http2.NewFramer(nc, nc), streams: map[uint32]*framedCall{}}
	c.encoder = hpack.NewEncoder(&c.block)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.SetMaxReadFrameSize(1 << 20)
	f.mu.Lock()
	f.connections = append(f.connections, c)
	f.mu.Unlock()
	c.write(func(w *http2.Framer) { w.WriteSettings(f.settings...); w.WriteWindowUpdate(0, 64<<20) })
	var running sync.WaitGroup
	defer running.Wait()
	defer func() {
		for _, s := range c.streams {
			s.end(io.ErrUnexpectedEOF)
		}
	}()
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return
		}
		if f.deaf != nil {
			<-f.deaf(c)
		}
		s := c.streams[frame.Header().StreamID]
		whole := false
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			s = &framedCall{framedConn: c, id: frame.StreamID, fields: frame.Fields}
			s.ended, s.end = context.WithCancelCause(context.Background())
			c.streams[s.id] = s
			f.mu.Lock()
			f.requests = append(f.requests, s)
			f.mu.Unlock()
			c.write(func(w *http2.Framer) { w.WriteWindowUpdate(s.id, 64<<20) })
			if f.begins != nil {
				f.begins(s)
			}
			whole = frame.StreamEnded()
		case *http2.DataFrame:
			if s != nil {
				s.body = append(s.body, frame.Data()...)
				whole = frame.StreamEnded()
			}
		case *http2.RSTStreamFrame:
			if s != nil {
				s.end(errReset(frame.ErrCode))
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				c.write(func(w *http2.Framer) { w.WritePing(true, frame.Data) })
			}
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				c.write(func(w *http2.Framer) { w.WriteSettingsAck() })
			}
		}
		if whole && f.does != nil {
			running.Go(func() { f.does(s) })
		}
	}
}

func (c *framedConn) write(f func(*http2.Framer)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c.framer)
}

// head begins the answer; with end there is no body.
func (s *framedCall) head(end bool, status int, fields ...string) {
	s.framedConn.mu.Lock()
	defer s.framedConn.mu.Unlock()
	s.block.Reset()
	s.encoder.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
	for i := 0; i+1 < len(fields); i += 2 {
		s.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	s.writeHeaders(end)
}

// trailers end it.
func (s *framedCall) trailers(fields ...string) {
	s.framedConn.mu.Lock()
	defer s.framedConn.mu.Unlock()
	s.block.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		s.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	s.writeHeaders(true)
}

// writeHeaders sends the block, in as many frames as it takes.
func (s *framedCall) writeHeaders(end bool) {
	for first := true; first || s.block.Len() > 0; first = false {
		part := bytes.Clone(s.block.Next(16 << 10))
		if last := s.block.Len() == 0; first {
			s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: part, EndStream: end, EndHeaders: last})
		} else {
			s.framer.WriteContinuation(s.id, last, part)
		}
	}
}

func (s *framedCall) data(end bool, b []byte) {
	s.write(func(w *http2.Framer) {
		for len(b) > 16<<10 {
			w.WriteData(s.id, false, b[:16<<10])
			b = b[16<<10:]
		}
		w.WriteData(s.id, end, b)
	})
}

func (s *framedCall) reset(code http2.ErrCode) {
	s.write(func(w *http2.Framer) { w.WriteRSTStream(s.id, code) })
}

// goAway says that streams after last were not taken.
func (c *framedConn) goAway(last uint32, code http2.ErrCode) {
	c.write(func(w *http2.Framer) { w.WriteGoAway(last, code, nil) })
}

// field is the value of a header, all of its values by commas.
func (s *framedCall) field(name string) (value string) {
	for _, f := range s.fields {
		if f.Name == name {
			if value != "" {
				value += ","
			}
			value += f.Value
		}
	}
	return value
}

// said is a whole answer of Converse's.
const said = `{"output":{"message":{"role":"assistant","content":[{"text":"Hello."}]}},"stopReason":"end_turn","usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5},"metrics":{"latencyMs":1}}`

// answer is what Converse says, whole or streamed.
func (s *framedCall) answer() {
	if path := s.field(":path"); len(path) > 7 && path[len(path)-7:] == "-stream" {
		s.head(false, 200, "content-type", "application/vnd.amazon.eventstream")
		s.data(false, frame("messageStart", `{"role":"assistant"}`))
		s.data(false, frame("contentBlockDelta", delta("Hello.")))
		s.data(true, ending())
		return
	}
	s.head(false, 200, "content-type", "application/json")
	s.data(true, []byte(said))
}

// ending is the end of a Converse stream.
func ending() []byte {
	return bytes.Join([][]byte{
		frame("contentBlockStop", `{"contentBlockIndex":0}`),
		frame("messageStop", `{"stopReason":"end_turn"}`),
		frame("metadata", `{"usage":{"inputTokens":3,"outputTokens":2,"totalTokens":5},"metrics":{"latencyMs":1}}`),
	}, nil)
}

// seen are the requests that came, and the connections that were made.
func (f *framing) seen() (requests []*framedCall, connections int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*framedCall(nil), f.requests...), len(f.connections)
}
