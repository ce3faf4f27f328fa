package resource

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aisix/admin/strict"
)

// seeds are the golden cases.
func seeds(f *testing.F, file string, add func(line string)) {
	f.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\n"); line != "" && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "#") {
			add(line)
		}
	}
}

// What decodes can be shown, and what is shown can be written back and is the same
// then; so is what a store keeps.
func FuzzDecode(f *testing.F) {
	for _, file := range []string{"testdata/refused.txt", "testdata/accepted.txt"} {
		seeds(f, file, func(line string) {
			kind, body := parseCase(f, line)
			for i, k := range Kinds {
				if k == kind {
					f.Add(i, body)
				}
			}
		})
	}
	f.Fuzz(func(t *testing.T, n int, body string) {
		if n < 0 || n >= len(Kinds) {
			return
		}
		kind := Kinds[n]
		r, err := Decode(kind, []byte(body), nil)
		if err != nil {
			if _, ok := err.(*strict.Error); !ok || r != nil {
				t.Fatalf("%v, %#v", r, err)
			}
			return
		}
		if !json.Valid([]byte(body)) {
			t.Fatal("decoded what is no JSON")
		}
		shown, err := Show(r)
		if err != nil {
			t.Fatal(err)
		}
		if k, ok := r.(*APIKey); ok && k.KeyHash == "" {
			return // the server generates one first
		}
		again, err := Decode(kind, shown, r)
		if err != nil {
			t.Fatalf("%s can't be written back: %v", shown, err)
		}
		kept, err := Keep(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := kept.Resource(kind)
		if err != nil {
			t.Fatalf("%s was kept and does not come back: %v", shown, err)
		}
		if shownBack, _ := Show(back); string(shownBack) != string(shown) {
			t.Errorf("%s was kept and comes back as %s", shown, shownBack)
		}
		shownAgain, err := Show(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(shown), string(shownAgain)); diff != "" {
			t.Error(diff)
		}
	})
}

// Patch is what a plain MergePatch as RFC 7396 writes it makes of the shown value.
func FuzzPatch(f *testing.F) {
	seeds(f, "testdata/patched.txt", func(line string) {
		target, patch, _ := strings.Cut(line, " <- ")
		_, body := parseCase(f, target)
		f.Add(body, patch)
	})
	f.Fuzz(func(t *testing.T, body, patch string) {
		for _, kind := range Kinds {
			old, err := Decode(kind, []byte(body), nil)
			if err != nil {
				continue
			}
			patched, err := Patch(old, []byte(patch))
			if err != nil {
				if _, ok := err.(*strict.Error); !ok {
					t.Fatalf("%#v", err)
				}
				continue
			}
			shown, _ := Show(old)
			merged, err := json.Marshal(mergePatch(plain(t, string(shown)), plain(t, patch)))
			if err != nil {
				t.Fatal(err)
			}
			want, err := Decode(kind, merged, old)
			if err != nil {
				t.Fatalf("%s patched with %s: %s is refused: %v", shown, patch, merged, err)
			}
			wantShown, _ := Show(want)
			gotShown, _ := Show(patched)
			if diff := cmp.Diff(plain(t, string(wantShown)), plain(t, string(gotShown))); diff != "" {
				t.Errorf("%s patched with %s (-want +got):\n%s", shown, patch, diff)
			}
		}
	})
}

// mergePatch is the pseudocode of RFC 7396, section 2.
func mergePatch(target, patch any) any {
	changes, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	result, ok := target.(map[string]any)
	if !ok {
		result = map[string]any{}
	}
	for name, value := range changes {
		if value == nil {
			delete(result, name)
		} else {
			result[name] = mergePatch(result[name], value)
		}
	}
	return result
}

// plain reads JSON with its numbers as they are written.
func plain(t *testing.T, text string) any {
	t.Helper()
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}
