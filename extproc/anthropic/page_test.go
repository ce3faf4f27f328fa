package anthropic

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// The page tells of each member of a translated request, and of no other.
func TestMembersAreTold(t *testing.T) {
	raw, err := os.ReadFile("../../docs/parameters-messages.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	_, table, _ := strings.Cut(string(raw), "| Member | What becomes of it |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		for name := range strings.FieldsSeq(strings.ReplaceAll(cell, "`", "")) {
			told[name] = true
		}
	}
	for f := range reflect.TypeFor[body]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		if !told[name] {
			t.Errorf("the page does not tell of %s", name)
		}
		delete(told, name)
	}
	for name := range told {
		t.Errorf("the page tells of %s, which is no member", name)
	}
}
