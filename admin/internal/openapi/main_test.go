package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../../.."

func TestTheFileIsWhatTheCodeSays(t *testing.T) {
	want, err := write(root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(root + "/admin/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("admin/openapi.json is not what the code says: run make generate (-code +file):\n%s", diff)
	}
}

// What is referred to is there, and every member of a body says what it is.
func TestNothingIsMissing(t *testing.T) {
	text, err := write(root)
	if err != nil {
		t.Fatal(err)
	}
	var references []string
	var find func(any)
	find = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				references = append(references, ref)
			}
			for _, item := range v {
				find(item)
			}
		case []any:
			for _, item := range v {
				find(item)
			}
		}
	}
	var whole any
	if json.Unmarshal(text, &whole) != nil {
		t.Fatal(string(text))
	}
	find(whole)
	var parts struct {
		Components map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(text, &parts); err != nil {
		t.Fatal(err)
	}
	for _, ref := range references {
		section, name, _ := strings.Cut(strings.TrimPrefix(ref, "#/components/"), "/")
		if parts.Components[section][name] == nil {
			t.Errorf("%s is not there", ref)
		}
	}
	if len(references) < 100 {
		t.Errorf("%d references", len(references))
	}
	for name, text := range parts.Components["schemas"] {
		var schema struct {
			Description string
			Properties  map[string]struct{ Description string }
		}
		if err := json.Unmarshal(text, &schema); err != nil || schema.Description == "" {
			t.Errorf("%s: %+v, %v", name, schema, err)
		}
		for member, p := range schema.Properties {
			if p.Description == "" {
				t.Errorf("%s of %s says nothing of itself", member, name)
			}
		}
	}
}
