package sim

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the control words to docs/simulator.md")

func TestThePageListsEveryWord(t *testing.T) {
	const page, begin, end = "../../../docs/simulator.md", "<!-- words: go test ./cmd/bedrocksim/sim -update -->\n", "<!-- end of words -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	tables, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the words", page)
	}
	var want strings.Builder
	for _, group := range vocabulary {
		fmt.Fprintf(&want, "\n### %s\n\n| Word | What happens |\n|---|---|\n", group.title)
		for _, w := range group.words {
			fmt.Fprintf(&want, "| `%s%s` | %s |\n", w.name, w.value, w.does)
		}
	}
	want.WriteString("\n")
	if tables == want.String() {
		return
	}
	if !*update {
		t.Errorf("%s does not list the words as they are; -update writes them", page)
		return
	}
	if err := os.WriteFile(page, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
