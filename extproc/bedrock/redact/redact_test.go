package redact

import (
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// lines are those of a file in testdata, without comments and empty ones.
func lines(t testing.TB, name string) (out []string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return out
}

func TestWhatTheCallerDidWrongIsKept(t *testing.T) {
	r := New("", "bedrock-runtime.us-west-2.amazonaws.com", "AKIDEXAMPLE", "us-west-2")
	for _, message := range lines(t, "kept.txt") {
		if got := r.Message(message); got != message {
			t.Errorf("lost something:\n got %q\nwant %q", got, message)
		}
	}
}

func TestRedaction(t *testing.T) {
	r := New("", "private.example:8443", "private.example", "AKIDEXAMPLE")
	pairs := lines(t, "redacted.txt")
	for i := 0; i+1 < len(pairs); i += 2 {
		in, err := strconv.Unquote(pairs[i])
		if err != nil {
			t.Fatalf("%s: %v", pairs[i], err)
		}
		want, err := strconv.Unquote(pairs[i+1])
		if pairs[i+1] == "canned" {
			want, err = canned, nil
		}
		if got := r.Message(in); got != want || err != nil {
			t.Errorf("%q\n got %q\nwant %q, %v", in, got, want, err)
		}
	}
}

func TestLongMessages(t *testing.T) {
	r := New()
	if got := r.Message(strings.Repeat("x", MaxInput+1)); got != canned {
		t.Errorf("longer than is looked at: %q", got)
	}
	got := r.Message("head " + strings.Repeat("middle ", 1000) + "tail")
	if len(got) > maxMessage+10 || !strings.HasPrefix(got, "head middle ") || !strings.HasSuffix(got, " middle tail") || !strings.Contains(got, " […] ") {
		t.Errorf("a long message became %q", got)
	}
}

func TestRedactionOfIdentifiersInEverySentence(t *testing.T) {
	for i, id := range lines(t, "identifiers.txt") {
		for j, form := range []func(string) string{
			func(s string) string { return s }, strings.ToUpper, url.QueryEscape,
			func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
			func(s string) string { return "x" + s + "y" },
			func(s string) string { return strings.ReplaceAll(s, "-", "\u2010") },
			func(s string) string { return strings.Join(strings.Split(s, ""), "\u200d") },
			func(s string) string { return strings.Join(strings.Split(s, ""), "\u0301") },
			wide,
		} {
			around := [][2]string{{"Model ", " is not there."}, {"Model '", "' is not there"}, {"(", "), says the service"}, {"id=", "; try again"}, {"<", "> says no"}, {"the model\n", "\nis not there"}}[(i+j)%6]
			in := around[0] + form(id) + around[1]
			if got := New().Message(in); leaks(got, id) {
				t.Errorf("message(%q) = %q", in, got)
			}
		}
	}
}

// wide are the full-width forms of s.
func wide(s string) string {
	return strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f {
			return r + 0xfee0
		}
		return r
	}, s)
}

// leaks reports whether the letters and digits of id still stand in got one after
// the other. It knows nothing of how a Redactor looks for them.
func leaks(got, id string) bool {
	return strings.Contains(bare(got), bare(id))
}

func bare(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0xff01 && r <= 0xff5e {
			r -= 0xfee0
		}
		if r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return unicode.ToLower(r)
		}
		return -1
	}, s)
}

func FuzzRedact(f *testing.F) {
	ids := lines(f, "identifiers.txt")
	for i := range ids {
		f.Add(i, "Model ", " is not there")
		f.Add(i, "x", "y")
		f.Add(i, "9", "0-")
		f.Add(i, "\"", "\u200b")
		f.Add(i, "%", "%3")
		f.Add(i, "\\u00", "&#")
	}
	for i, message := range lines(f, "kept.txt") {
		f.Add(i, message, "")
	}
	f.Fuzz(func(t *testing.T, n int, before, after string) {
		id := ids[uint(n)%uint(len(ids))]
		if leaks(before, id) || leaks(after, id) || leaks(canned, id) {
			return
		}
		r := New()
		got := r.Message(before + id + after)
		if strings.Contains(got, id) {
			t.Errorf("%q shows %q", got, id)
		}
		if again := r.Message(got); got != canned && again != got && again != canned {
			t.Errorf("%q, cleaned again, is %q", got, again)
		}
	})
}
