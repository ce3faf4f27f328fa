package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "aisix/proto/aisix/v1"
)

const page = "../docs/admin-api.md"

var (
	fence      = regexp.MustCompile("(?ms)^```(sh|json)\n(.*?)^```\n")
	docTime    = regexp.MustCompile(`"(created_at|updated_at)": "[^"]+"`)
	docAddress = "http://127.0.0.1:3001"
)

// The page's commands are run as they stand, and get the answers that stand below
// them: ids are the page's own, times are one moment. -update writes the answers.
func TestThePageForAdministrators(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("the page's commands need curl")
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	a := start(t)
	a.spend(&usagev1.Record{Time: timestamppb.New(time.Now()), KeyId: "k", ModelAlias: "claude",
		Outcome: usagev1.Outcome_OUTCOME_SUCCEEDED, PromptTokens: proto.Int64(9), CompletionTokens: proto.Int64(5)})
	var ids []string
	docID := func(n int) string { return fmt.Sprintf("0198c1de-7a10-7000-8000-%012d", n+1) }
	commands, answers, answer := 0, 0, ""
	got := fence.ReplaceAllStringFunc(string(text), func(block string) string {
		m := fence.FindStringSubmatch(block)
		if m[1] == "json" {
			answers++
			return "```json\n" + answer + "```\n"
		}
		commands++
		command := strings.ReplaceAll(m[2], docAddress, a.url)
		for n, id := range ids {
			command = strings.ReplaceAll(command, docID(n), id)
		}
		run := exec.Command("bash", "-euo", "pipefail", "-c", command)
		run.Env = append(os.Environ(), "AISIX_ADMIN_KEY="+adminKey)
		out, err := run.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", m[2], err, out)
		}
		var indented bytes.Buffer
		if len(out) > 0 && json.Indent(&indented, out, "", "  ") != nil {
			t.Fatalf("%s: %s", m[2], out)
		}
		answer = indented.String()
		for _, id := range anID.FindAllString(answer, -1) {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
			answer = strings.ReplaceAll(answer, id, docID(slices.Index(ids, id)))
		}
		answer = docTime.ReplaceAllString(answer, `"$1": "2026-10-01T12:00:00.123Z"`) + "\n"
		return block
	})
	if commands < 10 || answers != commands-1 { // export has none
		t.Errorf("%d commands, %d answers", commands, answers)
	}
	if *update {
		if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(string(text), got); diff != "" {
		t.Errorf("%s (-page +server):\n%s", page, diff)
	}
	if strings.Contains(got, `"error_msg": "missing`) {
		t.Error("a command of the page was refused")
	}
}

func TestThePageNamesEveryMember(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	d, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	for schema, described := range d.Components.Schemas {
		if strings.HasSuffix(schema, "Entry") || slices.Contains([]string{"RotatedAPIKey", "UsageRow", "Status", "Deleted"}, schema) {
			continue // shown by the page's answers
		}
		for member := range described.Properties {
			if schema != "SecretInfo" && !strings.Contains(string(text), "`"+member+"`") || !strings.Contains(string(text), member) {
				t.Errorf("%s does not name %s of %s", page, member, schema)
			}
		}
	}
}
