package bedrock

import (
	"slices"
	"strconv"
	"testing"
)

// Whoever takes the names that an alias would get costs one try each, no more.
func TestAliasesAreLinear(t *testing.T) {
	const name, n = "é", 3_000
	names := []string{"tool_" + digest(name)[:8]}
	for i := 1; i < n; i++ {
		names = append(names, "tool_"+digest(name + "#" + strconv.Itoa(i))[:8])
	}
	names = append(names, name)
	var got string
	if bytes := allocated(func() { got = newAliases(names).wire(name) }); bytes > 3_000*n {
		t.Errorf("%d bytes for %d names", bytes, n)
	}
	if !legal(got) || slices.Contains(names, got) {
		t.Errorf("the alias %q is taken, or illegal", got)
	}
}
