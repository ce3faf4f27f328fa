package chat

import "testing"

func TestUsagePromptCountsCachedTokens(t *testing.T) {
	in, read, write := 3, 5, 7
	u := Usage{Input: &in, CacheRead: &read, CacheWrite: &write}
	if got := u.Prompt(); got != 15 {
		t.Errorf("Prompt() = %d, want 15: what the model read, cached or not", got)
	}
	if (Usage{}).Known() {
		t.Error("an empty usage is known: absent is not zero")
	}
}
