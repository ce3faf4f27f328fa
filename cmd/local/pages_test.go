package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"text/template"
)

const root = "../../"

func TestTheREADMEHasTheCommandsThatArePrinted(t *testing.T) {
	var printed strings.Builder
	err := template.Must(template.New("commands").Parse(commands)).Execute(&printed, map[string]string{
		"AdminKey": "admin-local-only-change-me", "Admin": "http://127.0.0.1:3001", "Proxy": "http://127.0.0.1:3000", "Sim": "http://127.0.0.1:3010",
	})
	if err != nil {
		t.Fatal(err)
	}
	// What is printed picks the id out of the answer; the reader of the README copies it.
	want := plain(strings.NewReplacer("PROVIDER_KEY=$(curl", "curl", `'); echo "$PROVIDER_KEY"`, "'").Replace(printed.String()))
	var got strings.Builder
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(page(t, "README.md"), -1) {
		got.WriteString(block[1])
	}
	if got := plain(got.String()); got != want {
		t.Errorf("README.md says\n%s\nmake run prints\n%s", got, want)
	}
}

// plain is commands without comments, blank lines and the line that sets the provider key's id.
func plain(commands string) string {
	var b strings.Builder
	for line := range strings.Lines(commands) {
		if line != "\n" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "export PROVIDER_KEY_ID=") {
			b.WriteString(strings.TrimRight(line, "\n") + "\n")
		}
	}
	return b.String()
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s#]*)(?:#([^)\s]*))?\)`)
	pages, err := filepath.Glob(root + "docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal("no pages", err)
	}
	for _, path := range append(pages, root+"README.md") {
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(page(t, name), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			target := name
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(name), m[1])
			}
			if _, err := os.Stat(root + target); err != nil {
				t.Errorf("%s: %s", name, err)
			} else if m[2] != "" && !headings(page(t, target))[m[2]] {
				t.Errorf("%s: %s has no heading #%s", name, target, m[2])
			}
		}
	}
}

// headings are the anchors of a page, as forges make them.
func headings(text string) map[string]bool {
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		words := strings.ToLower(regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(m[1], ""))
		anchors[strings.ReplaceAll(words, " ", "-")] = true
	}
	return anchors
}

func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(root + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
