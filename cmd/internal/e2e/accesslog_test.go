package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
)

// lines are extproc's log lines.
func (g *gateway) lines() []map[string]any {
	var lines []map[string]any
	for _, raw := range bytes.Split(g.Extproc.Log(), []byte("\n")) {
		var line map[string]any
		if json.Unmarshal(raw, &line) == nil && line != nil {
			lines = append(lines, line)
		}
	}
	return lines
}

// accessLine waits for the access-log line of one of the tenant's chats.
func (c *tenant) accessLine(t *testing.T, is func(map[string]any) bool) map[string]any {
	t.Helper()
	var found map[string]any
	eventually(t, patience, func() error {
		for _, line := range c.lines() {
			if line["msg"] == "request" && line["key_id"] == c.keyID && line["path"] == "/v1/chat/completions" && is(line) {
				found = line
				return nil
			}
		}
		return fmt.Errorf("no such line of the access log")
	})
	return found
}

// errorLine waits for the operator's line about the tenant's failed call.
func (c *tenant) errorLine(t *testing.T) map[string]any {
	t.Helper()
	var found map[string]any
	eventually(t, patience, func() error {
		for _, line := range c.lines() {
			if line["msg"] == "call failed" && line["key_id"] == c.keyID {
				found = line
				return nil
			}
		}
		return fmt.Errorf("no such line in the log")
	})
	return found
}
