package bedrock

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the table of flags in docs/parameters-messages.md")

// The page's table of flags is what the file says.
func TestBetasPage(t *testing.T) {
	const page = "../../docs/parameters-messages.md"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| Flag | What becomes of it |\n|---|---|\n")
	quoted := func(list []string) string { return "`" + strings.Join(list, "`, `") + "`" }
	for _, row := range betaRows {
		says := "passes"
		switch {
		case row.Drop && row.Except != nil:
			says = "left out, but for " + quoted(row.Except)
		case row.Drop:
			says = "left out"
		case row.Rename != "":
			says = "goes as `" + row.Rename + "`"
		case row.Needs != "":
			says = "passes where the body has `" + row.Needs + "`"
		}
		if row.Opens != "" {
			says += "; put in where the body has `" + row.Opens + "`, for " + quoted(row.OpensFor)
		}
		if row.Only != nil {
			says += "; for models other than " + quoted(row.Only) + " both are left out"
		}
		if row.Members != nil {
			says += "; left out with it: " + quoted(row.Members)
		}
		fmt.Fprintf(&table, "| `%s` | %s |\n", row.Flag, says)
	}
	before, rest, ok := strings.Cut(string(raw), "-update -->\n")
	_, after, ok2 := strings.Cut(rest, "<!-- /betas -->")
	if !ok || !ok2 {
		t.Fatal("the page has no place for the table")
	}
	want := before + "-update -->\n" + table.String() + "<!-- /betas -->" + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(raw) {
		t.Error("docs/parameters-messages.md is not what betas.json says: run go test ./extproc/bedrock -run BetasPage -update")
	}
}
