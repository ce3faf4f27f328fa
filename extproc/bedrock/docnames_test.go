package bedrock

import (
	"fmt"
	"strings"
	"testing"
)

// Namesakes count on from each other, also where a long name was cut: 20,000 of
// them took 40 seconds.
func TestDocumentNamesAreLinear(t *testing.T) {
	long := strings.Repeat("x", 195)
	const n = 5_000
	for what, name := range map[string]func(i int) string{
		"one name":           func(int) string { return "a" },
		"long ones by twos":  func(i int) string { return fmt.Sprintf("%s%05d", long, i/2) },
		"names in between":   func(i int) string { return fmt.Sprintf("a (%d)", i%(n/2)+2) },
		"with their numbers": func(i int) string { return []string{"a", fmt.Sprintf("A (%d)", i)}[i%2] },
	} {
		docs, seen := documentNames{}, map[string]bool{}
		mallocs := testing.AllocsPerRun(1, func() {
			clear(docs)
			clear(seen)
			for i := range n {
				got := docs.unique(name(i))
				if key := strings.ToLower(got); seen[key] || len(got) > maxDocumentName {
					t.Fatalf("%s: %q stands twice, or is too long", what, got)
				} else {
					seen[key] = true
				}
			}
		})
		if mallocs > 30*n {
			t.Errorf("%s: %.0f allocations for %d names", what, mallocs, n)
		}
	}
}
