package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

func TestNewEnough(t *testing.T) {
	for version, want := range map[string]bool{
		"2.20.0\n": true, "v2.40.3": true, "2.19.9": false, "1.29.2": false, "3.0.0-rc.1": true, "2.20.3+ds1-1": true, "dev": false, "": false,
	} {
		if newEnough(version) != want {
			t.Errorf("%q: %t", version, !want)
		}
	}
}

// What the file and the pages say is what is looked for here.
func TestTheLeastComposeIsSaid(t *testing.T) {
	want := fmt.Sprintf("ompose %d.%d or newer", leastMajor, leastMinor)
	for _, file := range []string{"docker-compose.yaml", "README.md", "docs/operations.md"} {
		if text, err := os.ReadFile("../../../" + file); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s does not say %q (%v)", file, want, err)
		}
	}
}

func TestWithoutAnEngineItSaysWhatIsLeftOut(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out strings.Builder
	if err := run(t.Context(), nil, &out); err != nil || !strings.HasPrefix(out.String(), "left out: all of compose-test, since there is no docker") {
		t.Errorf("%v: %s", err, out.String())
	}
}
