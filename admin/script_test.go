package admin

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the expected answers anew")

// TestScripts plays every testdata/*.http against an API of its own. A file is
// requests, each with the answer that it must get:
//
//	POST /admin/v1/models
//	If-Match: "1"
//	{"display_name": …}
//	> 201
//	> ETag: "2"
//	> {"id":"$1", …}
//
// $1, $2, … are the ids that answers gave, in the order in which they turned up;
// times are shown as <time>. The admin key and a JSON content type go along unless
// the request says otherwise ("Authorization:" with nothing behind takes it away).
// go test ./admin -run Scripts -update writes the answers.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.http")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".http"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(start(t), string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("%s (-file +server):\n%s", file, diff)
			}
		})
	}
}

var (
	requestLine = regexp.MustCompile(`^[A-Z]+ /`)
	headerLine  = regexp.MustCompile(`^[A-Za-z-]+:`)
	anID        = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	aTime       = regexp.MustCompile(`"(created_at|updated_at)":"[^"]+"`)
)

// play is the script with the answers that the API gives.
func play(a *api, script string) string {
	var out strings.Builder
	var ids []string
	lines := strings.Split(strings.TrimRight(script, "\n"), "\n")
	for i := 0; i < len(lines); {
		line := lines[i]
		i++
		if strings.HasPrefix(line, ">") {
			continue
		}
		fmt.Fprintln(&out, line)
		if !requestLine.MatchString(line) {
			continue
		}
		var header []string
		body := ""
		for ; i < len(lines) && lines[i] != "" && !strings.HasPrefix(lines[i], ">"); i++ {
			fmt.Fprintln(&out, lines[i])
			if body == "" && headerLine.MatchString(lines[i]) {
				header = append(header, lines[i])
			} else {
				body += lines[i] + "\n"
			}
		}
		fill := func(s string) string {
			for n, id := range slices.Backward(ids) {
				s = strings.ReplaceAll(s, fmt.Sprintf("$%d", n+1), id)
			}
			return s
		}
		method, path, _ := strings.Cut(fill(line), " ")
		got := a.do(method, path, fill(strings.TrimSuffix(body, "\n")), header...)
		show := func(s string) string {
			for _, id := range anID.FindAllString(s, -1) {
				if !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
				s = strings.ReplaceAll(s, id, fmt.Sprintf("$%d", slices.Index(ids, id)+1))
			}
			return aTime.ReplaceAllString(s, `"$1":"<time>"`)
		}
		fmt.Fprintf(&out, "> %d\n", got.status)
		for _, name := range []string{"Allow", "WWW-Authenticate", "Retry-After", "Location", "Link", "ETag"} {
			if value := got.header.Get(name); value != "" {
				fmt.Fprintf(&out, "> %s: %s\n", name, show(value))
			}
		}
		if got.body != "" {
			fmt.Fprintf(&out, "> %s\n", show(got.body))
		}
	}
	return out.String()
}
