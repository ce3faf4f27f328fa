package chat

import "testing"

func TestTold(t *testing.T) {
	for name, want := range map[string]string{"toolu_01A-b.c:d": "toolu_01A-b.c:d", "": "(no plain name)", "two words": "(no plain name)", "naïve": "(no plain name)"} {
		if got := Named(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	if got := AllNamed([]string{"web_search", "x y", "a", "x z"}); got != "(no plain name), a, web_search" {
		t.Error(got)
	}
	for message, want := range map[string]string{
		`unknown member "top_k"`:             `unknown member "top_k"`,
		`role "Where is my \"sub\"" at "x" `: `role "…" at "x" `,
		`no end "of it`:                      `no end "of it`,
	} {
		if got := Unquoted(message); got != want {
			t.Errorf("%q: %q, want %q", message, got, want)
		}
	}
}
