package openai

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// Every member that a body may have stands in the page.
func TestResponsesDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/parameters-responses.md")
	if err != nil {
		t.Fatal(err)
	}
	for f := range reflect.TypeFor[responseRequest]().Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && !strings.Contains(string(page), "`"+name) {
			t.Errorf("docs/parameters-responses.md says nothing of %s", name)
		}
	}
}
