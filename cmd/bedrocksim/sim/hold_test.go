package sim

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

// holds asks for answers whose head comes ahead of them, and behind it least bytes that say nothing: they are
// whole all the same, or never begin.
func holds(t *testing.T, s *simulator, word string, least int) {
	if _, err := s.converse(t.Context(), nova, "sim:"+word+"=50ms x"); err != nil {
		t.Error(err)
	}
	if h := s.converseStream(t.Context(), nova, "sim:"+word+"=50ms x"); h.err != nil || h.text != "You said: x" {
		t.Errorf("%+v", h)
	}
	if events, err := s.claudeEvents(t.Context(), "sim:"+word+"=50ms x"); err != nil || len(events) < 3 {
		t.Errorf("%v %v", events, err)
	}
	for operation, says := range map[string]string{"converse": " ", "converse-stream": "novelEvent"} {
		r := s.post(t, nova, operation, marshal(object{"messages": []any{object{"role": "user", "content": []any{object{"text": "sim:" + word + " x"}}}}}))
		first := make([]byte, least)
		if _, err := io.ReadFull(r.Body, first); err != nil || r.StatusCode != http.StatusOK || least > 0 && !bytes.Contains(first, []byte(says)) {
			t.Errorf("%s: %s, %q, %v", operation, r.Status, first, err)
		}
		r.Body.Close()
		awaitLeft(t, s)
	}
}
