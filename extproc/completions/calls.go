package completions

import (
	"errors"
	"strconv"
	"strings"

	"aisix/extproc/chat"
)

// calls are an answer's calls. This format tells where one begins, in fragments that may be
// mixed with those of the others, and of none where it ends.
type calls struct {
	byIndex map[int]*calling    // the upstream's index
	byID    map[string]*calling // nil before a service gave no index, or one to two calls
	last    *calling            // that a fragment came for
	named   int                 // how many were given an index here
	all     []*calling          // in the order in which they came
	open    []*calling          // that have begun, in that order, and have not ended
	waits   int                 // bytes of arguments that came before the start
}

// calling is a call in the making.
type calling struct {
	index    int // ours, once it has begun
	id, name string
	begun    bool
	ended    bool
	early    strings.Builder // arguments that came before the start
	input    object
}

// maxEarly is how many bytes of arguments may come before their call has a name and an id.
const maxEarly = 1 << 20

var (
	errUnnamed = errors.New("openai: arguments of a tool call without a name")
	errBehind  = errors.New("openai: arguments of a tool call go on behind their end")
)

// call takes a fragment of a call. What can't be told right is an error, but for a caller who
// has it as it came.
func (d *EventDecoder) call(c *callDelta) error {
	k := d.calls.of(c)
	if k == nil { // it says nothing
		return nil
	}
	d.calls.last = k
	f := &c.Function
	if k.id == "" && c.ID != "" {
		k.id = c.ID
		if d.calls.byID != nil {
			d.calls.byID[c.ID] = k
		}
	}
	if k.name == "" {
		k.name = f.Name
	}
	switch {
	case f.Arguments == "":
	case k.ended:
		if strings.TrimLeft(f.Arguments, " \t\r\n") != "" {
			return errBehind
		}
		return nil
	case k.begun:
		d.add(chat.ToolDelta{Index: k.index, JSON: f.Arguments})
	default:
		if d.calls.waits+len(f.Arguments) > maxEarly {
			return errUnnamed
		}
		d.calls.waits += len(f.Arguments)
		k.early.WriteString(f.Arguments)
	}
	k.input.add(f.Arguments)
	// An id may come late. One that has not come when all else has is none.
	if !k.begun && k.name != "" && (k.id != "" || k.input.complete()) {
		d.begin(k)
	}
	if d.open >= 0 {
		d.settle(1)
	} else {
		d.settle(0)
	}
	return nil
}

// begin tells that a call begins, and what came of it before.
func (d *EventDecoder) begin(k *calling) {
	d.close()
	d.settle(1)
	k.begun, k.index = true, d.next
	d.next++
	d.calls.open = append(d.calls.open, k)
	d.add(chat.ToolStart{Index: k.index, ID: k.id, Name: k.name})
	if k.early.Len() > 0 {
		d.add(chat.ToolDelta{Index: k.index, JSON: k.early.String()})
		d.calls.waits -= k.early.Len()
		k.early = strings.Builder{}
	}
}

// settle ends the calls that are complete where something begins behind them, so that it need
// not wait for the end of the answer; behind is what does beside other calls. One that is not
// complete holds up those behind it.
func (d *EventDecoder) settle(behind int) {
	c := &d.calls
	for len(c.open) > 0 && len(c.open)+behind > 1 && c.open[0].input.complete() {
		d.end(c.open[0])
		c.open = c.open[1:]
	}
}

func (d *EventDecoder) end(k *calling) {
	k.ended = true
	d.add(chat.BlockStop{Index: k.index})
}

// endCalls ends all calls. Of one that never got a name nobody can say what it calls.
func (d *EventDecoder) endCalls() error {
	for _, k := range d.calls.all {
		if k.name == "" {
			return errUnnamed
		}
		if !k.begun {
			d.begin(k)
		}
	}
	for _, k := range d.calls.open {
		d.end(k)
	}
	d.calls = calls{}
	return nil
}

// of is the call that a fragment belongs to, a new one where it begins one; nil where it says
// nothing.
func (c *calls) of(f *callDelta) *calling {
	if f.ID == "" && f.Function.Name == "" && f.Function.Arguments == "" {
		return nil
	}
	if !f.Index.given {
		if k := c.unplaced(f); k != nil {
			return k
		}
		c.named++
		return c.add(-c.named)
	}
	k, name := c.byIndex[f.Index.at], f.Function.Name
	switch {
	case k == nil:
	case f.ID == "" && name != "" && k.input.complete() && (name != k.name || f.Function.Arguments != ""):
	case f.ID == "" || f.ID == k.id:
		return k
	default:
		if named := c.ofID(f.ID); named != nil && (name == "" || name == named.name) {
			return named // it began under that index too
		}
		if name == "" || k.id == "" && (k.name == "" || name == k.name) {
			return k
		}
	}
	return c.add(f.Index.at) // a second one of an index: some services count all calls as the first
}

// ofID is the call that has an id, nil where none does.
func (c *calls) ofID(id string) *calling {
	if c.byID == nil {
		c.byID = map[string]*calling{}
		for _, k := range c.all {
			c.byID[k.id] = k
		}
	}
	return c.byID[id]
}

// unplaced is the call that a fragment without an index belongs to, nil where it begins one.
func (c *calls) unplaced(f *callDelta) *calling {
	if f.ID != "" {
		if k := c.ofID(f.ID); k != nil {
			return k
		}
	}
	switch k, name := c.last, f.Function.Name; {
	case k == nil:
		return nil
	case name == "": // some services give every fragment an id of its own
		return k
	case f.ID != "" && k.id != "", k.name != "" && (name != k.name || k.input.complete()):
		return nil
	default:
		return k
	}
}

func (c *calls) add(at int) *calling {
	if c.byIndex == nil {
		c.byIndex = map[int]*calling{}
	}
	k := &calling{}
	c.byIndex[at] = k
	c.all = append(c.all, k)
	return k
}

// place is a call's index, if one is given.
type place struct {
	at    int
	given bool
}

// UnmarshalJSON reads a number, or null.
func (p *place) UnmarshalJSON(text []byte) (err error) {
	if string(text) == "null" {
		return nil
	}
	p.given = true
	p.at, err = strconv.Atoi(string(text))
	return err
}

// object follows a JSON object as it is written, as far as to tell where it ends.
type object struct {
	depth   int
	text    bool // in a string
	escaped bool // behind a backslash in it
	state   objectState
}

type objectState int

const (
	unbegun objectState = iota
	growing
	whole
	broken // it is no object, or something follows it
)

// complete reports whether the object is at its end, and nothing is behind it.
func (o *object) complete() bool { return o.state == whole }

func (o *object) add(s string) {
	for i := range len(s) {
		o.next(s[i])
	}
}

func (o *object) next(c byte) {
	switch {
	case o.state == broken:
	case o.escaped:
		o.escaped = false
	case o.text:
		o.escaped, o.text = c == '\\', c != '"'
	case c == ' ', c == '\t', c == '\r', c == '\n':
	case o.state == whole, o.state == unbegun && c != '{':
		o.state = broken
	case c == '"':
		o.text = true
	case c == '{', c == '[':
		o.state = growing
		o.depth++
	case c == '}', c == ']':
		if o.depth--; o.depth == 0 {
			o.state = whole
		}
	}
}
