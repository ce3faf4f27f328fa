package bedrock

import (
	"slices"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"
	"aisix/extproc/jsonedit"
)

const sonnet45, opus48 = "anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic.claude-opus-4-8"

// adopt is the body that goes up of one in Anthropic's format.
func adopt(t *testing.T, id, body string, flags []string, options resource.Bedrock) (string, []string) {
	t.Helper()
	m, err := Compile(&resource.Model{Bedrock: options}, id, &resource.ProviderKey{Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Adopt(&chat.Verbatim{API: chat.Messages, Body: []byte(body), Beta: flags}, m)
	if err != nil {
		t.Fatal(err)
	}
	return string(c.body), c.Notes()
}

func TestBetas(t *testing.T) {
	const turn = `"messages":[{"role":"user","content":"a"}]`
	for _, c := range []struct{ name, flags, body, want string }{
		{"claude code", "claude-code-20250219,interleaved-thinking-2025-05-14,thinking-token-count-2026-05-13,context-management-2025-06-27,prompt-caching-scope-2026-01-05",
			`{"model":"x","context_management":{"edits":[]},` + turn + `}`,
			`{"anthropic_beta":["interleaved-thinking-2025-05-14","context-management-2025-06-27"],"anthropic_version":"bedrock-2023-05-31","context_management":{"edits":[]},` + turn + `}`},
		{"a flag without its member", "context-management-2025-06-27,effort-2025-11-24,novel-2030-01-01", `{` + turn + `,"output_config":{"format":null}}`,
			`{"anthropic_beta":["novel-2030-01-01"],"anthropic_version":"bedrock-2023-05-31",` + turn + `,"output_config":{"format":null}}`},
		{"members that go with a flag", "prompt-caching-scope-2026-01-05,fast-mode-2026-02-01,advanced-tool-use-2025-11-20", `{"speed":"fast","system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","scope":"global"}}],` +
			`"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"scope","cache_control":{"scope":"x","type":"ephemeral"}}]}]}],"tools":[{"name":"a","allowed_callers":["x"],"defer_loading":true}]}`,
			`{"anthropic_beta":["tool-search-tool-2025-10-19"],"anthropic_version":"bedrock-2023-05-31","system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],` +
				`"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"scope","cache_control":{"type":"ephemeral"}}]}]}],"tools":[{"name":"a","defer_loading":true}]}`},
		{"a member without the flag that Bedrock wants", "mid-conversation-tool-changes-2026-07-01", `{"tools":[{"name":"a"},{"name":"b","defer_loading":true}],` + turn + `}`,
			`{"anthropic_beta":["mid-conversation-tool-changes-2026-07-01","tool-search-tool-2025-10-19"],"anthropic_version":"bedrock-2023-05-31","tools":[{"name":"a"},{"name":"b","defer_loading":true}],` + turn + `}`},
		{"beside the flag", "tool-search-tool-2025-10-19", `{"tools":[{"name":"b","defer_loading":false}],` + turn + `}`,
			`{"anthropic_beta":["tool-search-tool-2025-10-19"],"anthropic_version":"bedrock-2023-05-31","tools":[{"name":"b","defer_loading":false}],` + turn + `}`},
		{"a word like it", "a-1", `{"tools":[{"name":"defer_loading","input_schema":{"defer_loading":true}}],` + turn + `}`,
			`{"anthropic_beta":["a-1"],"anthropic_version":"bedrock-2023-05-31","tools":[{"name":"defer_loading","input_schema":{"defer_loading":true}}],` + turn + `}`},
		{"the body's own list", "b-1", `{"anthropic_beta":["a-1","b-1","claude-code-20250219"],` + turn + `}`, `{"anthropic_beta":["b-1","a-1"],"anthropic_version":"bedrock-2023-05-31",` + turn + `}`},
	} {
		got, _ := adopt(t, sonnet45, c.body, strings.Split(c.flags, ","), resource.Bedrock{})
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// Flags go to models that may take them, whether they came or are put in.
func TestFlagsByGeneration(t *testing.T) {
	const body = `{"tools":[{"name":"b","defer_loading":true}],"messages":[],"context_management":{}}`
	for id, want := range map[string]bool{
		opus48: true, sonnet45: true, "anthropic.claude-sonnet-4-20250514-v1:0": true, "anthropic.claude-opus-5": true, "anthropic.claude-fable-5": true,
		"anthropic.claude-3-5-sonnet-20241022-v2:0": false, "anthropic.claude-3-7-sonnet-20250219-v1:0": false,
	} {
		got, _ := adopt(t, id, body, []string{"context-management-2025-06-27"}, resource.Bedrock{})
		if strings.Contains(got, "tool-search-tool") != want || strings.Contains(got, "context-management") != want || strings.Contains(got, "context_management") != want || !strings.Contains(got, "defer_loading") {
			t.Errorf("%s: %s, want the flags: %t", id, got, want)
		}
	}
}

func TestAdoptMergesTheOperators(t *testing.T) {
	n := 4096
	got, notes := adopt(t, sonnet45, `{"stream":false,"messages":[],"thinking":{"type":"adaptive"},"output_config":{"effort":"low","x":1}}`, nil, resource.Bedrock{
		MaxTokens: &n, AnthropicBeta: []string{"context-1m-2025-08-07"},
		AdditionalModelRequestFields: []byte(`{"thinking":{"type":"enabled","budget_tokens":1024},"output_config":{"effort":"high"},"top_k":5,"anthropic_beta":["o-1"]}`),
	})
	want := `{"anthropic_beta":["context-1m-2025-08-07","o-1"],"anthropic_version":"bedrock-2023-05-31","max_tokens":4096,"output_config":{"effort":"high","x":1},"thinking":{"type":"enabled","budget_tokens":1024},"top_k":5,"messages":[]}`
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if len(notes) != 2 {
		t.Errorf("notes %q", notes)
	}
	if got, _ := adopt(t, sonnet45, `{"max_tokens":1,"messages":[]}`, nil, resource.Bedrock{MaxTokens: &n}); !strings.Contains(got, `"max_tokens":1,`) {
		t.Errorf("the caller's max_tokens became %s", got)
	}
}

func TestSystemTurnsOfAdopted(t *testing.T) {
	const said = `{"role":"user","content":"a"},{"content":"s1","role":"system"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"n","input":{}}]},{"role":"system","content":[{"type":"text","text":"s2"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t"}]},{"role":"system","content":"s3"}`
	got, _ := adopt(t, opus48, `{"messages":[`+said+`]}`, nil, resource.Bedrock{})
	if want := `{"anthropic_version":"bedrock-2023-05-31","messages":[` + said + `]}`; got != want {
		t.Errorf("a model that takes them got %s", got)
	}
	got, _ = adopt(t, sonnet45, `{"messages":[`+said+`],"system":"s0"}`, nil, resource.Bedrock{})
	want := `{"anthropic_version":"bedrock-2023-05-31","messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"n","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t"},{"type":"text","text":"s2"},{"type":"text","text":"s3"}]}],"system":[{"type":"text","text":"s0"},{"type":"text","text":"s1"}]}`
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got, _ = adopt(t, sonnet45, `{"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"}]}`, nil, resource.Bedrock{}); got != `{"system":[{"type":"text","text":"s"}],"anthropic_version":"bedrock-2023-05-31","messages":[{"role":"user","content":"a"}]}` {
		t.Errorf("without a system prompt: %s", got)
	}
}

// Where a system message stood between them, turns of the user's become one; those that the
// caller left side by side are Bedrock's to refuse.
func TestSystemTurnsLeaveRolesAlternating(t *testing.T) {
	const a, u = `{"role":"assistant","content":"a"}`, `{"role":"user","content":"u"}`
	const s = `{"role":"system","content":"s"}`
	for said, want := range map[string]string{
		u + `,` + s + `,` + u + `,` + a + `,` + u:                   `{"role":"user","content":[{"type":"text","text":"u"},{"type":"text","text":"u"}]},` + a + `,` + u, // s is hoisted
		u + `,` + a + `,` + u + `,` + s + `,` + a:                   u + `,` + a + `,{"role":"user","content":[{"type":"text","text":"u"},{"type":"text","text":"s"}]},` + a,
		u + `,` + a + `,` + s + `,` + a:                             u + `,` + a + `,{"role":"user","content":[{"type":"text","text":"s"}]},` + a,
		u + `,` + a + `,` + s + `,` + s:                             u + `,` + a + `,{"role":"user","content":[{"type":"text","text":"s"},{"type":"text","text":"s"}]}`,
		u + `,` + a + `,` + u + `,` + s + `,` + u:                   u + `,` + a + `,{"role":"user","content":[{"type":"text","text":"u"},{"type":"text","text":"s"},{"type":"text","text":"u"}]}`,
		u + `,` + a + `,` + s + `,` + s + `,` + u:                   u + `,` + a + `,{"role":"user","content":[{"type":"text","text":"u"},{"type":"text","text":"s"},{"type":"text","text":"s"}]}`,
		u + `,` + u + `,` + a + `,` + u + `,` + u:                   u + `,` + u + `,` + a + `,` + u + `,` + u,
		u + `,` + a + `,` + u + `,` + u + `,` + s:                   u + `,` + a + `,` + u + `,{"role":"user","content":[{"type":"text","text":"u"},{"type":"text","text":"s"}]}`,
		u + `,` + a + `,{"role":"system","content":""}`:             u + `,` + a,
		u + `,` + a + `,{"role":"user","content":7},` + s + `,` + u: u + `,` + a + `,{"role":"user","content":7},{"role":"user","content":[{"type":"text","text":"u"},{"type":"text","text":"s"}]}`,
		u + `,` + a + `,{"new":1,"content":[{"type":"text","text":"x"}],"role":"user","z":2},` + s + `,{"role":"user","content":[{"type":"tool_result","tool_use_id":"t"}]}`: u + `,` + a +
			`,{"new":1,"content":[{"type":"tool_result","tool_use_id":"t"},{"type":"text","text":"x"},{"type":"text","text":"s"}],"role":"user","z":2}`,
	} {
		got, _ := adopt(t, sonnet45, `{"messages":[`+said+`]}`, nil, resource.Bedrock{})
		_, got, _ = strings.Cut(got, `"messages":[`)
		if got = strings.TrimSuffix(got, "]}"); got != want {
			t.Errorf("%s\n got %s\nwant %s", said, got, want)
		}
	}
}

// What Claude Code guessed by an alias is put right; another caller is taken at its word.
func TestGuesses(t *testing.T) {
	const body = `{"max_tokens":32000,"messages":[{"role":"user","content":"a"}],"thinking":{"type":"adaptive"},"output_config":{"effort":"high"},"context_management":{"edits":[]}}`
	flags := []string{"claude-code-20250219", "effort-2025-11-24", "context-management-2025-06-27"}
	for id, want := range map[string]string{
		sonnet45: `{"anthropic_beta":["context-management-2025-06-27"],"anthropic_version":"bedrock-2023-05-31","thinking":{"budget_tokens":16384,"type":"enabled"},"max_tokens":32000,"messages":[{"role":"user","content":"a"}],"output_config":{},"context_management":{"edits":[]}}`,
		"anthropic.claude-3-5-sonnet-20241022-v2:0": `{"anthropic_version":"bedrock-2023-05-31","max_tokens":8192,"messages":[{"role":"user","content":"a"}],"output_config":{}}`,
		opus48: `{"anthropic_beta":["effort-2025-11-24","context-management-2025-06-27"],"anthropic_version":"bedrock-2023-05-31",` + body[1:],
	} {
		if got, _ := adopt(t, id, body, flags, resource.Bedrock{}); got != want {
			t.Errorf("%s:\n got %s\nwant %s", id, got, want)
		}
	}
	if got, _ := adopt(t, sonnet45, body, flags[1:2], resource.Bedrock{}); got != `{"anthropic_beta":["effort-2025-11-24"],"anthropic_version":"bedrock-2023-05-31",`+body[1:] {
		t.Errorf("another caller's became %s", got)
	}
	budgeted := strings.Replace(body, `{"type":"adaptive"}`, `{"type":"enabled","budget_tokens":31999}`, 1)
	for id, want := range map[string]string{opus48: `{"type":"adaptive"}`, sonnet45: `{"type":"enabled","budget_tokens":31999}`} {
		if got, _ := adopt(t, id, budgeted, flags, resource.Bedrock{}); !strings.Contains(got, `"thinking":`+want) {
			t.Errorf("%s: a budget became %s", id, got)
		}
	}
	calls := strings.Replace(body, `{"role":"user","content":"a"}`, `{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"n","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t"}]}`, 1)
	if got, _ := adopt(t, sonnet45, calls, flags, resource.Bedrock{}); strings.Contains(got, "thinking") || strings.Contains(got, "context") {
		t.Errorf("behind calls without reasoning: %s", got)
	}
}

// Where another model's reasoning was left out of the turn with the calls, Claude takes no budget.
func TestNoBudgetBehindForeignCalls(t *testing.T) {
	const calls = `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"n","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t"}]}],"thinking":{"type":"enabled","budget_tokens":1024}}`
	m, err := Compile(&resource.Model{}, sonnet45, &resource.ProviderKey{Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		foreign bool
		flags   []string
		thinks  bool
	}{{false, nil, true}, {true, nil, false}, {true, []string{"claude-code-20250219"}, false}, {false, []string{"claude-code-20250219"}, false}} {
		got, err := Adopt(&chat.Verbatim{API: chat.Messages, Body: []byte(calls), Foreign: c.foreign, Beta: c.flags}, m)
		if err != nil || strings.Contains(string(got.body), "budget_tokens") != c.thinks || c.thinks == (len(got.Notes()) > 0) {
			t.Errorf("%+v: %s, notes %q, %v", c, got.body, got.Notes(), err)
		}
	}
	r := userSays("q")
	r.Messages = append(r.Messages, chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.ToolUse{ID: "t", Name: "n", Input: []byte(`{}`)}}}, chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "t", Blocks: []chat.Block{chat.Text{Text: "r"}}}}})
	r.Reasoning = &chat.Reasoning{Thinking: []byte(`{"type":"enabled","budget_tokens":1024}`), Wish: true}
	if c := newCall(t, r, compile(&resource.Model{ModelName: sonnet45, API: "converse"})); strings.Contains(string(c.body), "budget_tokens") {
		t.Errorf("by Converse: %s", c.body)
	}
}

// What a body has among its flags becomes a header at bedrock-mantle only where it can.
func TestFlagsThatFitNoHeader(t *testing.T) {
	m, err := Compile(&resource.Model{Host: "mantle"}, opus48, &resource.ProviderKey{Credentials: creds})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Adopt(&chat.Verbatim{API: chat.Messages, Body: []byte(`{"messages":[],"anthropic_beta":["a-1","x\r\nhost: evil","\u0000","",7,"a,b","\u00e9","` + strings.Repeat("x", 257) + `","b-2"]}`)}, m)
	if err != nil {
		t.Fatal(err)
	}
	if c.header[0] != (Field{Key: "anthropic-beta", Value: "a-1,b-2"}) || len(c.Notes()) == 0 {
		t.Errorf("header %q, notes %q", c.header, c.Notes())
	}
}

// Each row is one that the code knows what to do with.
func TestBetaRows(t *testing.T) {
	for _, row := range betaRows {
		if row.Drop && (row.Rename != "" || row.Needs != "" || row.Only != nil) || !row.Drop && row.Except != nil || row.Rename != "" && betaOf(row.Rename) != nil && betaOf(row.Rename).Drop {
			t.Errorf("%s says two things", row.Flag)
		}
		for _, member := range append(slices.Clone(row.Members), row.Needs) {
			if outer, _, nested := strings.Cut(member, "."); nested && !slices.Contains([]string{"tools", "cache_control", "output_config", "thinking", "messages"}, outer) {
				t.Errorf("%s: no code takes %s out", row.Flag, member)
			}
		}
	}
}

// What Claude Code says of turns and of its display goes to the models that take it, and flag and
// member stay behind together for others, whoever asks.
func TestMembersOfTurns(t *testing.T) {
	const flags = "thinking-display-updates-2026-08-18,per-turn-control-2026-07-01,mid-conversation-output-config-2026-07-01,dangerous-tool-use-2026-09-03,mid-conversation-tool-changes-2026-07-01"
	const body = `{"messages":[{"role":"system","content":[],"output_config":{"effort":"low"}},{"role":"user","content":"a","output_config":{"effort":"low"}},{"output_config":{"effort":"low"},"role":"system","content":"s"}],"safeguards":[],"thinking":{"type":"adaptive","display":"updates"}}`
	for id, want := range map[string]string{
		"anthropic.claude-opus-5-5": `{"anthropic_beta":["thinking-display-updates-2026-08-18","per-turn-control-2026-07-01","mid-conversation-output-config-2026-07-01","dangerous-tool-use-2026-09-03","mid-conversation-tool-changes-2026-07-01"],"anthropic_version":"bedrock-2023-05-31",` + body[1:],
		opus48:                      `{"anthropic_beta":["dangerous-tool-use-2026-09-03","mid-conversation-tool-changes-2026-07-01"],"anthropic_version":"bedrock-2023-05-31","messages":[{"role":"user","content":"a"},{"role":"system","content":"s"}],"safeguards":[],"thinking":{"type":"adaptive"}}`,
		sonnet45:                    `{"system":[{"type":"text","text":"s"}],"anthropic_beta":["dangerous-tool-use-2026-09-03","mid-conversation-tool-changes-2026-07-01"],"anthropic_version":"bedrock-2023-05-31","messages":[{"role":"user","content":"a"}],"safeguards":[],"thinking":{"type":"adaptive"}}`,
	} {
		if got, _ := adopt(t, id, body, strings.Split(flags, ","), resource.Bedrock{}); got != want {
			t.Errorf("%s:\n got %s\nwant %s", id, got, want)
		}
	}
	// Another display is none of the flag's.
	got, _ := adopt(t, opus48, `{"messages":[],"thinking":{"type":"adaptive","display":"summarized"}}`, strings.Split(flags, ","), resource.Bedrock{})
	if want := `{"anthropic_beta":["mid-conversation-tool-changes-2026-07-01"],"anthropic_version":"bedrock-2023-05-31","messages":[],"thinking":{"type":"adaptive","display":"summarized"}}`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	// A guess that is put right is shown as it was to be.
	for _, c := range []struct{ id, thinking, want string }{
		{opus48, `{"type":"enabled","budget_tokens":31999,"display":"summarized"}`, `{"display":"summarized","type":"adaptive"}`},
		{opus48, `{"type":"enabled","budget_tokens":31999,"display":"updates"}`, `{"type":"adaptive"}`},
		{"anthropic.claude-opus-5-5", `{"type":"enabled","budget_tokens":31999,"display":"updates"}`, `{"display":"updates","type":"adaptive"}`},
		{sonnet45, `{"type":"adaptive","display":"omitted"}`, `{"budget_tokens":2048,"display":"omitted","type":"enabled"}`},
	} {
		got, _ := adopt(t, c.id, `{"max_tokens":32000,"messages":[],"thinking":`+c.thinking+`}`, []string{"claude-code-20250219", "thinking-display-updates-2026-08-18"}, resource.Bedrock{})
		if !strings.Contains(got, `"thinking":`+c.want) {
			t.Errorf("%s, %s: %s", c.id, c.thinking, got)
		}
	}
}

func FuzzAdopt(f *testing.F) {
	f.Add([]byte(`{"messages":[{"role":"system","content":"s"},{"role":"assistant"},{"role":"system","content":[]}],"system":[],"cache_control":{"scope":1},"tools":[{"allowed_callers":1}]}`), "prompt-caching-scope-2026-01-05,advanced-tool-use-2025-11-20,fast-mode-2026-02-01")
	f.Add([]byte(`{"messages":[{"role":"system","content":[],"output_config":{}},{"role":"user","output_config":1,"content":"a"},[],{"output_config":null,"role":"system"}],"thinking":{"display":"updates","type":"adaptive"},"safeguards":1}`), "thinking-display-updates-2026-08-18,per-turn-control-2026-07-01,claude-code-20250219")
	m, err := Compile(&resource.Model{}, sonnet45, &resource.ProviderKey{Credentials: creds})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, flags string) {
		if !isObject(body) {
			return
		}
		c, err := Adopt(&chat.Verbatim{API: chat.Messages, Body: body, Beta: strings.Split(flags, ",")}, m)
		if err != nil {
			t.Fatal(err)
		}
		if !isObject(c.body) {
			t.Errorf("%s became %s", body, c.body)
		}
		if hasMember(jsonedit.Text(c.body), "model") {
			t.Errorf("model is in %s", c.body)
		}
	})
}

func isObject(b []byte) bool { return members(b) != nil }
