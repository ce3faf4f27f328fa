package resource

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the expected lines anew")

// bases are the least bodies; a case in testdata adds members to one ("-name" takes
// one away).
var bases = map[Kind]string{
	ProviderKeys: `{"display_name":"bedrock-prod","secret":"{\"access_key_id\":\"AKIAHIDDEN0001\",\"secret_access_key\":\"hidden/secret\",\"region\":\"us-west-2\"}"}`,
	Models:       `{"display_name":"claude","model_name":"anthropic.claude-3-5-sonnet-20241022-v2:0","provider_key_id":"0198c1de-0000-7000-8000-000000000001"}`,
	APIKeys:      `{"key_hash":"` + aHash + `","allowed_models":["claude"]}`,
}

const aHash = "a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3"

// golden runs every case of a file and compares what stands below it. A case is one
// line: a kind and the members to change in its base; "raw", a kind and a body as
// it is; "secret" and members to change in a provider key's secret.
func golden(t *testing.T, file string, run func(kind Kind, body string) string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "    ") {
			continue
		}
		got.WriteString(line)
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		kind, body := parseCase(t, line)
		fmt.Fprintf(&got, "    %s\n", run(kind, body))
	}
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(text), got.String()); diff != "" {
		t.Errorf("%s (-file +code):\n%s", file, diff)
	}
}

func parseCase(t testing.TB, line string) (Kind, string) {
	t.Helper()
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "raw":
		kind, body, _ := strings.Cut(rest, " ")
		if unquoted := ""; strings.HasPrefix(body, "`") {
			if _, err := fmt.Sscanf(`"`+strings.Trim(body, "`")+`"`, "%q", &unquoted); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			body = unquoted
		}
		return Kind(kind), body
	case "secret":
		var base struct {
			Secret string `json:"secret"`
		}
		if err := json.Unmarshal([]byte(bases[ProviderKeys]), &base); err != nil {
			t.Fatal(err)
		}
		secret, err := json.Marshal(change(t, base.Secret, rest))
		if err != nil {
			t.Fatal(err)
		}
		return ProviderKeys, change(t, bases[ProviderKeys], `{"secret":`+string(secret)+`}`)
	default:
		return Kind(word), change(t, bases[Kind(word)], rest)
	}
}

func change(t testing.TB, base, members string) string {
	t.Helper()
	all, changes := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for text, into := range map[string]*map[string]json.RawMessage{base: &all, members: &changes} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	for name := range changes {
		if without, ok := strings.CutPrefix(name, "-"); ok {
			delete(all, without)
			delete(changes, name)
		}
	}
	maps.Copy(all, changes)
	body, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestRefused(t *testing.T) {
	golden(t, "testdata/refused.txt", func(kind Kind, body string) string {
		r, err := Decode(kind, []byte(body), nil)
		if err == nil {
			return fmt.Sprintf("ACCEPTED %+v", r)
		}
		if strings.Contains(strings.ToLower(err.Error()), "hidden") {
			t.Errorf("%s: the error echoes a value: %v", body, err)
		}
		return err.Error()
	})
}

func TestAccepted(t *testing.T) {
	golden(t, "testdata/accepted.txt", func(kind Kind, body string) string {
		r, err := Decode(kind, []byte(body), nil)
		if err != nil {
			return "REFUSED " + err.Error()
		}
		shown, err := Show(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(strings.ToLower(string(shown)), "hidden") {
			t.Errorf("%s: a read shows the secret: %s", body, shown)
		}
		if k, ok := r.(*APIKey); ok && k.KeyHash == "" {
			return string(shown) + " (the key is generated)"
		}
		again, err := Decode(kind, shown, r)
		if err != nil {
			t.Errorf("%s can't be written back: %v", shown, err)
		} else if diff := cmp.Diff(r, again); diff != "" {
			t.Errorf("%s written back is another (-read +written):\n%s", shown, diff)
		}
		return string(shown)
	})
}

// A PATCH case is a kind, members of its base, and behind " <- " the patch.
func TestPatched(t *testing.T) {
	text, err := os.ReadFile("testdata/patched.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "    ") {
			continue
		}
		got.WriteString(line)
		target, patch, isCase := strings.Cut(strings.TrimSpace(line), " <- ")
		if !isCase {
			continue
		}
		kind, body := parseCase(t, target)
		old, err := Decode(kind, []byte(body), nil)
		if err != nil {
			t.Fatalf("%s: %v", target, err)
		}
		before, _ := Show(old)
		r, err := Patch(old, []byte(patch))
		if after, _ := Show(old); string(before) != string(after) {
			t.Errorf("%s: the old value was changed", line)
		}
		if err != nil {
			fmt.Fprintf(&got, "    %v\n", err)
			continue
		}
		shown, err := Show(r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "    %s\n", shown)
	}
	if *update {
		if err := os.WriteFile("testdata/patched.txt", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(text), got.String()); diff != "" {
		t.Errorf("testdata/patched.txt (-file +code):\n%s", diff)
	}
}
