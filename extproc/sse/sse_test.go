package sse

import "testing"

func TestFrames(t *testing.T) {
	if got, want := string(Data([]byte("x"), []byte(`{"a":1}`))), "xdata: {\"a\":1}\n\n"; got != want {
		t.Errorf("Data = %q, want %q", got, want)
	}
	if got, want := string(Comment(nil, "keep\nalive")), ": keep alive\n\n"; got != want {
		t.Errorf("Comment = %q, want %q: a line break would end the comment", got, want)
	}
	if Header().Get("Cache-Control") != "no-cache" || Header().Get("X-Accel-Buffering") != "no" {
		t.Errorf("Header = %v", Header())
	}
}
