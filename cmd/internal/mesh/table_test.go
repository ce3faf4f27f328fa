package mesh

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// result is one cell that ran, and the checks that held.
type result struct {
	cell
	Checks []string `json:"checks"`
}

// tried is the file that make mesh-test writes down what it ran in.
var tried = filepath.Join("testdata", "tried.json")

// page is where the table stands, between these two lines.
var (
	page       = filepath.Join(root, "docs", "attach.md")
	begin, end = "<!-- tried: make mesh-test UPDATE=1 -->\n", "<!-- /tried -->\n"
)

func recall(t *testing.T) []result {
	t.Helper()
	b, err := os.ReadFile(tried)
	if err != nil {
		t.Fatal(err)
	}
	var all []result
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatalf("%s: %v", tried, err)
	}
	return all
}

// remember writes down what ran; what did not run now stays as it was.
func remember(t *testing.T, ran []result) {
	t.Helper()
	all := recall(t)
	for _, r := range ran {
		slices.Sort(r.Checks)
		if i := slices.IndexFunc(all, func(old result) bool { return old.name() == r.name() }); i >= 0 {
			all[i] = r
		} else {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b result) int { return strings.Compare(a.name(), b.name()) })
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tried, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), begin)
	_, after, ok := strings.Cut(rest, end)
	if !ok {
		t.Fatalf("%s has no place for the table: %s%s", page, begin, end)
	}
	if err := os.WriteFile(page, []byte(before+begin+table(all)+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// table says of each cell that there is how much of what is asked there today held when it was last
// run: a check that is new since then counts as not held.
func table(all []result) string {
	var b bytes.Buffer
	b.WriteString("| Mesh | Envoy | Request bodies | To extproc | Checks that held |\n|---|---|---|---|---|\n")
	for _, c := range cells() {
		said := "not run"
		if i := slices.IndexFunc(all, func(r result) bool { return r.name() == c.name() }); i >= 0 {
			asked := c.asked()
			held := 0
			for _, name := range asked {
				if slices.Contains(all[i].Checks, name) {
					held++
				}
			}
			said = fmt.Sprintf("%d of %d", held, len(asked))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", c.Mesh, c.Envoy, c.Body, c.Transport, said)
	}
	return b.String()
}

// asked are the names of what is asked in a cell.
func (c cell) asked() []string {
	var names []string
	for _, check := range slices.Concat(checks, c.more) {
		if c.without[check.name] == "" {
			names = append(names, check.name)
		}
	}
	for name := range c.removals {
		names = append(names, "without "+name)
	}
	slices.Sort(names)
	return names
}

// The table on the page is what was run, and no cell on record has gone.
func TestTable(t *testing.T) {
	all := recall(t)
	for _, r := range all {
		if !slices.ContainsFunc(cells(), func(c cell) bool { return c.name() == r.name() }) {
			t.Errorf("%s has %s, which is no cell any more", tried, r.name())
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), begin)
	if got, _, ok := strings.Cut(rest, end); !ok || got != table(all) {
		t.Errorf("%s: the table is not what %s says (make mesh-test UPDATE=1):\n%s", page, tried, table(all))
	}
}
