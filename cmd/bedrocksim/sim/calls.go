package sim

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Call is one request that arrived, for whoever tests against the simulator.
type Call struct {
	RequestID   string          `json:"request_id"`
	At          time.Time       `json:"at"`
	Operation   string          `json:"operation"`
	Host        string          `json:"host"` // runtime or mantle
	Model       string          `json:"model"`
	AccessKeyID string          `json:"access_key_id"` // of a good signature, or "api key"
	Region      string          `json:"region"`
	Header      http.Header     `json:"header"`
	Body        json.RawMessage `json:"body,omitempty"` // where it is JSON
	Form        url.Values      `json:"form,omitempty"` // of a request to STS
	Status      int             `json:"status"`         // 0 until it is answered
	Exception   string          `json:"exception,omitempty"`
	Open        bool            `json:"open"`
	Left        bool            `json:"left"`             // the caller went before the end
	Faults      []string        `json:"faults,omitempty"` // what was taken, but is a mistake of whoever sent it
}

const maxCalls = 100

// calls is the newest calls, oldest first, and what every request is told to do.
type calls struct {
	mu     sync.Mutex
	recent []*Call
	total  int
	told   behaviour
}

// begin notes a call before anything is known of it: one that hangs or breaks off is in the list.
func (c *calls) begin(call *Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	call.Open = true
	c.total++
	c.recent = append(c.recent, call)
	if len(c.recent) > maxCalls {
		c.recent = append([]*Call(nil), c.recent[1:]...)
	}
}

// change changes what is under the lock; a Call is read while it goes on.
func (c *calls) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

func (c *calls) behaviour() behaviour {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told
}

// control serves the simulator's own paths:
//
//	GET    /_sim/calls       the newest calls: {"total":…,"open":…,"calls":[…]}
//	DELETE /_sim/calls       forgets them
//	GET    /_sim/behaviour   the control words that every request obeys
//	PUT    /_sim/behaviour   sets them: words with spaces between, "throttle=3 every=50ms"; none: behave well
func (c *calls) control(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /_sim/calls":
		c.list(w)
	case "DELETE /_sim/calls":
		c.change(func() { c.recent, c.total = nil, 0 })
	case "GET /_sim/behaviour":
		writeJSON(w, http.StatusOK, object{"behaviour": c.behaviour()})
	case "PUT /_sim/behaviour":
		text, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
		if err != nil {
			return
		}
		b, err := parseBehaviour(string(text))
		if err != nil {
			writeJSON(w, http.StatusBadRequest, object{"message": err.Error()})
			return
		}
		c.change(func() { c.told = b })
	default:
		writeJSON(w, http.StatusNotFound, object{"message": "there are GET and DELETE /_sim/calls, GET and PUT /_sim/behaviour"})
	}
}

// list marshals under the lock, for the calls in it still change.
func (c *calls) list(w http.ResponseWriter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	open := 0
	for _, call := range c.recent {
		if call.Open {
			open++
		}
	}
	writeJSON(w, http.StatusOK, object{"total": c.total, "open": open, "calls": append([]*Call{}, c.recent...)})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(wire(v))
}
