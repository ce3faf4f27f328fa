package mesh

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"aisix/cmd/internal/stack"
)

// cell is one way to attach the gateway.
type cell struct {
	Mesh      string `json:"mesh"`      // a section of docs/attach.md: "plain", "xDS", …
	Envoy     string `json:"envoy"`     // version
	Body      string `json:"body"`      // of requests: "full duplex" or "buffered"
	Transport string `json:"transport"` // to extproc: "tcp", "mtls" or "unix"

	needs []string // files without which it cannot run
	quick bool     // make test runs it

	loopback string // where Bedrock stands, for a mesh that refuses to go to 127.0.0.1

	// start attaches the gateway and serves until the test ends.
	start func(t *testing.T, a *attachment)
	// removals attach the gateway without a part of it each, by the name of what is gone.
	removals map[string]removal
	// more are checks that only this mesh has.
	more []check
	// without are checks that can't hold there, by name, and what callers see instead: the page says it.
	without map[string]string
}

// removal is what is left where a part of the gateway is gone. Nothing may leak there (see
// leaksNothing).
type removal struct {
	start  func(t *testing.T, a *attachment)
	serves bool // what is left serves callers still: then nothing goes up but what extproc has signed
}

// nearby reports whether extproc shares a machine with Envoy, so that it can have an egress listener.
func (c cell) nearby() bool { return c.Transport != "mtls" }

func (c cell) name() string {
	return strings.ReplaceAll(fmt.Sprintf("%s/%s/%s/%s", c.Mesh, c.Envoy, c.Body, c.Transport), " ", "-")
}

// missing is the first of what it needs that is not here.
func (c cell) missing() string {
	for _, path := range c.needs {
		if _, err := os.Stat(path); err != nil {
			return path
		}
	}
	return ""
}

// cells are all that there are. A mesh adds its own here.
func cells() []cell {
	return slices.Concat(plainCells(), xdsCells(), gatewayCells(), istioCells())
}

// attachment is one cell's Envoy with the gateway in it, as start leaves it, and what stands behind.
type attachment struct {
	*backend
	cell
	dir string // of the test, with a name short enough for Unix sockets

	bedrock *recorder // of all that goes to Bedrock; the simulator answers
	tls     *recorder // the same over TLS, whose CA is caFile
	caFile  string
	running string    // the address of an extproc that runs already; "": start starts one
	shop    *recorder // the owner's own application
	authz   *recorder // what his Envoy asks who may use it

	// What start says:
	address string        // where callers reach the Envoy, host:port
	domain  string        // the gateway's host there
	owner   string        // the host of the owner's own site there
	process *stack.Part   // extproc
	log     func() string // the owner's access log; nil: none
	control *controlPlane // of xDS
	guarded bool          // the owner's filters refuse whoever does not bring what his users have
	egress  bool          // there is a listener for extproc's own calls

	ownerToken        string // what the owner's callers authorize themselves by; "" is "theirs"
	extprocAt         string // where extproc listens
	certFile, keyFile string // extproc's and its callers', where they speak TLS
}

// extprocAddress is where this cell's extproc is to listen, in the form of its configuration.
func (a *attachment) extprocAddress(t *testing.T) string {
	t.Helper()
	if a.Transport == "unix" {
		return "unix:" + filepath.Join(a.dir, "extproc.sock")
	}
	address, err := stack.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func TestCells(t *testing.T) {
	var ran []result
	for _, c := range cells() {
		if !*every && !c.quick {
			continue
		}
		if path := c.missing(); path != "" {
			t.Logf("left out: %s (no %s)", c.name(), path)
			continue
		}
		t.Run(c.name(), func(t *testing.T) {
			ran = append(ran, result{cell: c, Checks: drive(t, c)})
		})
	}
	if len(ran) == 0 {
		t.Fatal("no cell ran: make tools fetches what the quick ones need")
	}
	if *update && !t.Failed() {
		remember(t, ran)
	}
}

// drive attaches the gateway once and asks everything, then takes parts of it away. It gives the
// names of what held.
func drive(t *testing.T, c cell) []string {
	var held []string
	a := attach(t, c)
	caller := a.tenant(t) // before extproc starts, which knows it at once then
	c.start(t, a)
	for _, check := range slices.Concat(checks, c.more) {
		if c.without[check.name] != "" {
			continue
		}
		if t.Run(check.name, func(t *testing.T) { check.ask(t, a, caller) }) {
			held = append(held, check.name)
		}
	}
	for name, remove := range c.removals {
		name = "without " + name
		if t.Run(name, func(t *testing.T) {
			a := attach(t, c)
			caller := a.tenant(t)
			remove.start(t, a)
			leaksNothing(t, a, caller, remove.serves)
		}) {
			held = append(held, name)
		}
	}
	return held
}

// attach is what stands behind an Envoy; the cell adds the Envoy.
func attach(t *testing.T, c cell) *attachment {
	t.Helper()
	dir, err := os.MkdirTemp("", "m")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	a := &attachment{backend: shared(t), cell: c, dir: dir}
	a.bedrock = newBedrock(t, a.SimURL(), c.loopback)
	a.tls, a.caFile = newBedrockTLS(t, a.SimURL(), c.loopback)
	a.shop = newShop(t)
	a.authz = newAuthz(t)
	return a
}
