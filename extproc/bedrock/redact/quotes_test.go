package redact

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// A prompt and a message that repeat one letter cost no more than others do.
func TestQuotesAreFoundInOnePass(t *testing.T) {
	message, text := strings.Repeat("a", maxMessage), strings.Repeat("a", 1<<21)
	done := make(chan string, 1)
	go func() { done <- Quotes(message, slices.Values([]string{text})) }()
	select {
	case got := <-done:
		if got != quoted {
			t.Errorf("got %q", got)
		}
	case <-time.After(20 * time.Second): // each letter by each: 2^32 steps
		t.Fatal("still at it")
	}
}

// FuzzQuotes: whatever AWS says, no piece of a text that is long enough to be a
// quote is left in it.
func FuzzQuotes(f *testing.F) {
	for _, message := range lines(f, "kept.txt") {
		f.Add(message, message[len(message)/3:], message[:len(message)/2])
		f.Add(message, "x", message[len(message)/4:len(message)/2]+"é")
	}
	f.Fuzz(func(t *testing.T, message, one, other string) {
		message = strings.ToValidUTF8(message, "") // as it is once its JSON is read
		got := Quotes(message, slices.Values([]string{one, other}))
		for part := range strings.SplitSeq(got, quoted) {
			for i := 0; i+quoteSize <= len(part); i++ {
				if piece := part[i : i+quoteSize]; strings.Contains(one, piece) || strings.Contains(other, piece) {
					t.Errorf("%q still quotes %q", got, piece)
				}
			}
		}
	})
}
