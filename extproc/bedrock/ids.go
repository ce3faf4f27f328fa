package bedrock

import (
	"crypto/rand"
	"strconv"
	"strings"

	"aisix/extproc/chat"
)

// callIDs sees to it that every call of one answer has an id, and no two the same one: a
// caller could not say which of them a result is of.
type callIDs struct {
	answer string // AWS's id of it; "" where it has none
	taken  map[string]bool
}

func (c *callIDs) events(in []chat.Event) []chat.Event {
	for i, e := range in {
		t, ok := e.(chat.ToolStart)
		if !ok || t.Server {
			continue
		}
		if strings.TrimSpace(t.ID) == "" || c.taken[t.ID] {
			t.ID = c.free()
			in[i] = t
		}
		if c.taken == nil {
			c.taken = map[string]bool{}
		}
		c.taken[t.ID] = true
	}
	return in
}

// free is an id of ours. No other answer has it, so that a conversation of several can
// be told apart as well.
func (c *callIDs) free() string {
	if c.answer == "" {
		c.answer = rand.Text()
	}
	for n := 0; ; n++ {
		if id := "call_" + digest(c.answer + "#" + strconv.Itoa(n))[:24]; !c.taken[id] {
			return id
		}
	}
}
