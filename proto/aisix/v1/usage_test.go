package usagev1

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The generated code is of this usage.proto: it is committed, and make generate
// needs the network.
func TestTheGeneratedCodeIsCurrent(t *testing.T) {
	text, err := os.ReadFile("usage.proto")
	if err != nil {
		t.Fatal(err)
	}
	source := regexp.MustCompile(`(?m)//.*$`).ReplaceAllString(string(text), "")
	want := map[string]string{}
	for _, block := range regexp.MustCompile(`(?s)(message|enum) (\w+) \{(.*?)\n\}`).FindAllStringSubmatch(source, -1) {
		for _, f := range regexp.MustCompile(`(?m)^\s*((?:optional |repeated )?)([\w.]*)\s*\b(\w+) = (\d+);`).FindAllStringSubmatch(block[3], -1) {
			want[block[2]+"."+f[3]] = strings.TrimSpace(f[1]+f[2]) + " " + f[4]
		}
	}
	got := map[string]string{}
	file := File_aisix_v1_usage_proto
	for i := range file.Messages().Len() {
		m := file.Messages().Get(i)
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			got[fmt.Sprintf("%s.%s", m.Name(), f.Name())] = fmt.Sprintf("%s%s %d", label(f), kind(f), f.Number())
		}
	}
	for i := range file.Enums().Len() {
		e := file.Enums().Get(i)
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			got[fmt.Sprintf("%s.%s", e.Name(), v.Name())] = fmt.Sprintf(" %d", v.Number())
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) < 20 {
		t.Errorf("run make generate (-usage.proto +usage.pb.go):\n%s", diff)
	}
}

func label(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsList():
		return "repeated "
	case f.HasOptionalKeyword():
		return "optional "
	}
	return ""
}

func kind(f protoreflect.FieldDescriptor) string {
	switch {
	case f.Enum() != nil:
		return string(f.Enum().Name())
	case f.Message() != nil:
		return strings.TrimPrefix(string(f.Message().FullName()), "aisix.v1.") // as the file itself names its own
	}
	return f.Kind().String()
}
