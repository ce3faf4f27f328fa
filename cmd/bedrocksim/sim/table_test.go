package sim

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// asks are parts of bodies that break a rule or keep it, in both shapes; "" is none of that shape.
var asks = map[string]struct{ converse, invoke string }{
	"plain":           {``, ``},
	"strict":          {tool(`"strict":true`, closedSchema), claudeTool1(`"strict":true`, closedSchema)},
	"strict open":     {tool(`"strict":true`, openSchema), claudeTool1(`"strict":true`, openSchema)},
	"strict max":      {tool(`"strict":true`, maxSchema), claudeTool1(`"strict":true`, maxSchema)},
	"native":          {`"outputConfig":{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":"{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}"}}}}`, `"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{},"additionalProperties":false}}}`},
	"native strict":   {`"outputConfig":{"textFormat":{"type":"json_schema","structure":{"jsonSchema":{"schema":"{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}"}}}},"additionalModelRequestFields":{"text":{"format":{"strict":true}}}`, ``},
	"tool":            {tool("", openSchema), claudeTool1("", openSchema)},
	"any":             {tool("", openSchema, `"toolChoice":{"any":{}}`), claudeTool1("", openSchema) + `,"tool_choice":{"type":"any"}`},
	"serial":          {tool("", openSchema) + `,"additionalModelRequestFields":{"tool_choice":{"type":"auto","disable_parallel_tool_use":true}}`, claudeTool1("", openSchema) + `,"tool_choice":{"type":"auto","disable_parallel_tool_use":true}`},
	"union":           {tool("", `{"type":"object","anyOf":[{"required":["a"]}]}`), claudeTool1("", `{"type":"object","anyOf":[{"required":["a"]}]}`)},
	"$name":           {tool("", `{"type":"object","properties":{"$filter":{"type":"string"}}}`), claudeTool1("", `{"type":"object","properties":{"$filter":{"type":"string"}}}`)},
	"definitions":     {tool("", `{"type":"object","properties":{},"$defs":{},"additionalProperties":false}`), claudeTool1("", `{"type":"object","properties":{},"$defs":{}}`)},
	"21 strict":       {tools(21, `"strict":true`, closedSchema), claudeTools(21, `"strict":true`, closedSchema)},
	"20 strict":       {tools(20, `"strict":true`, closedSchema), claudeTools(20, `"strict":true`, closedSchema)},
	"25 optional":     {tool(`"strict":true`, many(25, `{"type":"string"}`, false)), claudeTool1(`"strict":true`, many(25, `{"type":"string"}`, false))},
	"17 unions":       {tool(`"strict":true`, many(17, `{"type":["string","null"]}`, true)), claudeTool1(`"strict":true`, many(17, `{"anyOf":[{"type":"string"},{"type":"null"}]}`, true))},
	"temperature":     {`"inferenceConfig":{"temperature":1}`, `"temperature":1`},
	"top_k":           {`"additionalModelRequestFields":{"top_k":5}`, `"top_k":5`},
	"budget":          {`"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":1024}}`, `"thinking":{"type":"enabled","budget_tokens":1024}`},
	"small budget":    {`"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":1000}}`, `"thinking":{"type":"enabled","budget_tokens":1000}`},
	"large budget":    {`"inferenceConfig":{"maxTokens":4096},"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":4096}}`, `"thinking":{"type":"enabled","budget_tokens":4096}`},
	"budget, warm":    {`"inferenceConfig":{"temperature":0.5},"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":1024}}`, `"temperature":0.5,"thinking":{"type":"enabled","budget_tokens":1024}`},
	"budget, top_p":   {`"inferenceConfig":{"topP":0.5},"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":1024}}`, `"top_p":0.5,"thinking":{"type":"enabled","budget_tokens":1024}`},
	"budget, any":     {tool("", openSchema, `"toolChoice":{"any":{}}`) + `,"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":1024}}`, claudeTool1("", openSchema) + `,"tool_choice":{"type":"any"},"thinking":{"type":"enabled","budget_tokens":1024}`},
	"adaptive, any":   {tool("", openSchema, `"toolChoice":{"any":{}}`) + `,"additionalModelRequestFields":{"thinking":{"type":"adaptive"}}`, claudeTool1("", openSchema) + `,"tool_choice":{"type":"any"},"thinking":{"type":"adaptive"}`},
	"adaptive":        {`"additionalModelRequestFields":{"thinking":{"type":"adaptive","display":"summarized"}}`, `"thinking":{"type":"adaptive"}`},
	"disabled":        {`"additionalModelRequestFields":{"thinking":{"type":"disabled"}}`, `"thinking":{"type":"disabled"}`},
	"effort":          {`"additionalModelRequestFields":{"output_config":{"effort":"high"}}`, `"anthropic_beta":["effort-2025-11-24"],"output_config":{"effort":"high"}`},
	"xhigh":           {`"additionalModelRequestFields":{"output_config":{"effort":"xhigh"}}`, `"output_config":{"effort":"xhigh"}`},
	"openai's effort": {`"additionalModelRequestFields":{"reasoning_effort":"high"}`, `"reasoning_effort":"high"`},
	"config's effort": {`"additionalModelRequestFields":{"reasoning_config":"high"}`, ``},
	"gpt's effort":    {`"additionalModelRequestFields":{"reasoning":{"effort":"high"}}`, ``},
	"nova's low":      {`"inferenceConfig":{"maxTokens":9},"additionalModelRequestFields":{"reasoningConfig":{"type":"enabled","maxReasoningEffort":"low"}}`, ``},
	"nova's high":     {`"additionalModelRequestFields":{"reasoningConfig":{"type":"enabled","maxReasoningEffort":"high"}}`, ``},
	"nova's high, 9":  {`"inferenceConfig":{"maxTokens":9},"additionalModelRequestFields":{"reasoningConfig":{"type":"enabled","maxReasoningEffort":"high"}}`, ``},
	"nova's max":      {`"additionalModelRequestFields":{"reasoningConfig":{"type":"enabled","maxReasoningEffort":"max"}}`, ``},
}

const (
	closedSchema = `{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`
	openSchema   = `{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}`
	maxSchema    = `{"type":"object","properties":{"a":{"type":"array","items":{"type":"string"},"maxItems":3}},"required":["a"],"additionalProperties":false}`
)

func tool(extra, schema string, choice ...string) string {
	if extra != "" {
		extra = "," + extra
	}
	return `"toolConfig":{` + strings.Join(append(choice, `"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":`+schema+`}`+extra+`}}]`), ",") + `}`
}

func claudeTool1(extra, schema string) string { return claudeTools(1, extra, schema) }

func tools(n int, extra, schema string) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`{"toolSpec":{"name":"f%d","inputSchema":{"json":%s},%s}}`, i, schema, extra))
	}
	return `"toolConfig":{"tools":[` + strings.Join(list, ",") + `]}`
}

func claudeTools(n int, extra, schema string) string {
	if extra != "" {
		extra = "," + extra
	}
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(`{"name":"f%d","input_schema":%s%s}`, i, schema, extra))
	}
	return `"tools":[` + strings.Join(list, ",") + `]`
}

// many is a closed schema of n properties.
func many(n int, of string, required bool) string {
	var properties, names []string
	for i := range n {
		properties = append(properties, fmt.Sprintf(`"p%d":%s`, i, of))
		if required {
			names = append(names, fmt.Sprintf(`"p%d"`, i))
		}
	}
	return `{"type":"object","properties":{` + strings.Join(properties, ",") + `},"required":[` + strings.Join(names, ",") + `],"additionalProperties":false}`
}

// Which models Bedrock refuses what, by the table of ../../../../shared/design and public reports.
var refusedFor = []struct {
	ask, want    string // in the message
	bad, allowed []string
}{
	{"strict", "custom.strict: Extra inputs are not permitted", []string{"opus-4-7", "opus-4-8", "fable-5-1", "opus-5-5", "sonnet-5-5", "haiku-5-5", "sonnet-9", "opus-4-1-20250805-v1:0", "3-haiku-20240307-v1:0"}, []string{"haiku-4-5-20251001-v1:0", "opus-4-5-20251101-v1:0", "sonnet-4-6", "opus-5", "sonnet-5", "fable-5-v1:0"}},
	{"strict", "toolSpec.strict field", []string{"amazon.nova-pro-v1:0", "us.meta.llama3-3-70b-instruct-v1:0", "cohere.command-r-v1:0"}, []string{"qwen.qwen3-32b-v1:0", opaque}},
	{"strict open", "For 'object' type, 'additionalProperties' must be explicitly set to false", []string{"sonnet-4-5-20250929-v1:0", "opus-4-6-v1"}, nil},
	{"strict max", "For 'array' type, property 'maxItems' is not supported", []string{"sonnet-4-6"}, nil},
	{"native", "output_config.format: Extra inputs are not permitted", []string{"opus-4-7", "opus-4-8", "opus-5-5", "fable-5-1", "next-1", "3-7-sonnet-20250219-v1:0"}, []string{"haiku-4-5-20251001-v1:0", "opus-4-6-v1", "sonnet-5"}},
	{"native", "outputConfig.textFormat field", []string{"amazon.nova-pro-v1:0", "us.meta.llama4-scout-17b-instruct-v1:0"}, []string{"openai.gpt-oss-120b-1:0", "qwen.qwen3-32b-v1:0"}},
	{"native", "text.format.strict", []string{"us.openai.gpt-5.6", "us.openai.gpt-6.1"}, nil},
	{"native strict", "", nil, []string{"us.openai.gpt-5.6", "us.openai.gpt-6.1"}},
	{"21 strict", "Too many strict tools (21)", []string{"sonnet-4-6"}, nil},
	{"20 strict", "", nil, []string{"sonnet-4-6", "opus-5"}},
	{"25 optional", "too many optional parameters (25)", []string{"sonnet-4-6", "haiku-4-5-20251001-v1:0"}, nil},
	{"17 unions", "union types (17 parameters", []string{"sonnet-4-6", "haiku-4-5-20251001-v1:0"}, nil},
	{"tool", "doesn't support tool use", []string{"us.meta.llama3-2-1b-instruct-v1:0", "us.meta.llama3-2-3b-instruct-v1:0"}, []string{"us.meta.llama3-2-11b-instruct-v1:0", "amazon.nova-lite-v1:0"}},
	{"any", "tool_choice forces tool use is not compatible", []string{"fable-5-1", "mythos-5-1", "opus-5-5", "sonnet-5-5"}, []string{"haiku-5-5", "opus-5", "fable-5", "sonnet-4-6", "amazon.nova-pro-v1:0"}},
	{"any", "toolConfig.toolChoice.any", []string{"us.meta.llama3-3-70b-instruct-v1:0", "cohere.command-r-v1:0"}, nil},
	{"serial", "extraneous key [disable_parallel_tool_use]", []string{"3-haiku-20240307-v1:0", "3-5-sonnet-20241022-v2:0", "3-7-sonnet-20250219-v1:0"}, []string{"sonnet-4-20250514-v1:0", "opus-5"}},
	{"union", "does not support oneOf, allOf, or anyOf at the top level", []string{"sonnet-4-6", "3-haiku-20240307-v1:0", "opus-5"}, []string{"qwen.qwen3-32b-v1:0"}},
	{"$name", "Property keys should match pattern", []string{"sonnet-4-6", "opus-5-5"}, []string{"qwen.qwen3-32b-v1:0"}},
	{"definitions", "extraneous key [$defs]", []string{"amazon.nova-pro-v1:0", "us.amazon.nova-2-lite-v1:0"}, []string{"sonnet-4-6", "openai.gpt-oss-120b-1:0"}},
	{"temperature", "`temperature` is deprecated for this model.", []string{"opus-4-7", "opus-4-8", "opus-5", "sonnet-5", "haiku-5-5", "fable-5", "mythos-5-1"}, []string{"opus-4-6-v1", "sonnet-4-20250514-v1:0", "opus-4-20250514-v1:0", "3-haiku-20240307-v1:0"}},
	{"top_k", "`top_k` is deprecated for this model.", []string{"opus-4-7", "sonnet-5"}, []string{"opus-4-6-v1"}},
	{"top_k", "extraneous key [top_k]", []string{"amazon.nova-pro-v1:0"}, nil},
	{"budget", `"thinking.type.enabled" is not supported`, []string{"opus-4-7", "opus-4-8", "sonnet-5", "fable-5", "opus-5-5"}, []string{"opus-4-6-v1", "sonnet-4-6", "sonnet-4-20250514-v1:0", "3-7-sonnet-20250219-v1:0", "haiku-4-5-20251001-v1:0"}},
	{"budget", "extraneous key [thinking]", []string{"3-5-sonnet-20241022-v2:0", "3-haiku-20240307-v1:0", "amazon.nova-pro-v1:0", "openai.gpt-oss-120b-1:0", "qwen.qwen3-32b-v1:0"}, nil},
	{"adaptive", "adaptive thinking is not supported on this model", []string{"opus-4-5-20251101-v1:0", "haiku-4-5-20251001-v1:0", "sonnet-4-20250514-v1:0", "3-7-sonnet-20250219-v1:0"}, []string{"sonnet-4-6", "opus-4-7", "opus-5-5", "next-1"}},
	{"disabled", `"thinking.type.disabled" is not supported`, []string{"fable-5", "fable-5-1", "mythos-5", "opus-5-5", "sonnet-5-5"}, []string{"opus-5", "sonnet-5", "haiku-5-5", "sonnet-4-6", "3-haiku-20240307-v1:0"}},
	{"small budget", "1024", []string{"sonnet-4-6", "3-7-sonnet-20250219-v1:0"}, nil},
	{"large budget", "`max_tokens` must be greater than", []string{"sonnet-4-6"}, nil},
	{"budget, warm", "`temperature` may only be set to 1", []string{"sonnet-4-6"}, nil},
	{"budget, top_p", "`top_p` must be greater than or equal to 0.95", []string{"sonnet-4-6"}, nil},
	{"budget, any", "Thinking may not be enabled when tool_choice forces tool use.", []string{"sonnet-4-6", "haiku-4-5-20251001-v1:0"}, nil},
	{"adaptive, any", "Thinking may not be enabled when tool_choice forces tool use.", []string{"sonnet-4-6", "opus-5"}, nil},
	{"effort", "does not support the effort parameter", []string{"sonnet-4-5-20250929-v1:0", "3-7-sonnet-20250219-v1:0"}, []string{"opus-4-5-20251101-v1:0", "sonnet-4-6", "opus-5-5"}},
	{"xhigh", "output_config.effort", []string{"opus-4-6-v1"}, []string{"opus-4-7", "opus-5"}},
	{"openai's effort", "reasoning_effort: Extra inputs are not permitted", []string{"sonnet-4-6", "opus-5"}, nil},
	{"openai's effort", "extraneous key [reasoning_effort]", []string{"amazon.nova-pro-v1:0", "us.amazon.nova-2-lite-v1:0", "us.openai.gpt-5.6", "zai.glm-4.6"}, []string{"openai.gpt-oss-120b-1:0", "deepseek.v3-v1:0", "moonshot.kimi-k2-thinking"}},
	{"config's effort", "extraneous key [reasoning_config]", []string{"us.openai.gpt-6.1", "amazon.nova-pro-v1:0"}, []string{"zai.glm-4.6", "qwen.qwen3-32b-v1:0"}},
	{"gpt's effort", "reasoning", []string{"sonnet-4-6", "amazon.nova-pro-v1:0"}, []string{"us.openai.gpt-5.6"}},
	{"nova's low", "reasoning config value is invalid", []string{"amazon.nova-pro-v1:0"}, []string{"us.amazon.nova-2-lite-v1:0"}},
	{"nova's low", "reasoningConfig", []string{"sonnet-4-6", "openai.gpt-oss-120b-1:0", "us.meta.llama3-3-70b-instruct-v1:0"}, nil},
	{"nova's high", "", nil, []string{"us.amazon.nova-2-lite-v1:0"}},
	{"nova's high, 9", "maxTokens must be unset", []string{"us.amazon.nova-2-lite-v1:0"}, nil},
	{"nova's max", "reasoning config value is invalid", []string{"us.amazon.nova-2-lite-v1:0"}, nil},
}

const opaque = "arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/abc123"

func TestWhatTheTableRefuses(t *testing.T) {
	s := start(t)
	for _, c := range refusedFor {
		for _, id := range slices.Concat(c.bad, c.allowed) {
			ask := asks[c.ask]
			want := c.want
			if !slices.Contains(c.bad, id) {
				want = ""
			}
			t.Run(c.ask+" "+id, func(t *testing.T) {
				if !strings.Contains(id, ".") && !strings.HasPrefix(id, "arn:") {
					id = "us.anthropic.claude-" + id
				}
				bodies := map[string]string{}
				const hello = `"messages":[{"role":"user","content":[{"text":"hi"}]}]`
				bodies["converse"] = `{` + hello + comma(ask.converse) + `}`
				bodies["converse-stream"] = bodies["converse"]
				if strings.Contains(id, "anthropic") && (ask.invoke != "" || ask.converse == "") {
					bodies["invoke"] = `{"anthropic_version":"bedrock-2023-05-31","max_tokens":4096,"messages":[{"role":"user","content":"hi"}]` + comma(ask.invoke) + `}`
					bodies["invoke-with-response-stream"] = bodies["invoke"]
				}
				for operation, body := range bodies {
					verdict(t, s, id, operation, body, want)
				}
			})
		}
	}
}

func comma(s string) string {
	if s == "" {
		return ""
	}
	return "," + s
}

// verdict checks that a body is refused with those words, or taken where there are none.
func verdict(t *testing.T, s *simulator, id, operation, body, want string) {
	t.Helper()
	r := s.post(t, id, operation, []byte(body))
	if want == "" {
		if r.StatusCode != 200 {
			kind, message := refused(t, r)
			t.Errorf("%s %s: %s: %s", operation, id, kind, message)
		}
		io.Copy(io.Discard, r.Body)
		return
	}
	kind, message := refused(t, r)
	if r.StatusCode != 400 || kind != "ValidationException" || !strings.Contains(message, want) {
		t.Errorf("%s %s: %s %s: %s", operation, id, r.Status, kind, message)
	}
}

// What the table says of conversations. %s in a body's turns is where it matters.
func TestConversationsThatTheTableRefuses(t *testing.T) {
	const (
		user     = `{"role":"user","content":[{"text":"hi"}]}`
		system   = `{"role":"system","content":[{"text":"Be brief."}]}`
		answered = `{"role":"assistant","content":[{"text":"Hello."}]}`
		config   = `"toolConfig":{"tools":[{"toolSpec":{"name":"f","inputSchema":{"json":{"type":"object","properties":{}}}}}]}`
		point    = `,{"cachePoint":{"type":"default"}}`
		hour     = `,{"cachePoint":{"type":"default","ttl":"1h"}}`
		gptoss   = "openai.gpt-oss-120b-1:0"
		kimi     = "moonshot.kimi-k2-thinking"
		opus     = "us.anthropic.claude-opus-5"
		sonnet   = "us.anthropic.claude-sonnet-4-6"
	)
	thought := func(text string) string {
		return `{"role":"assistant","content":[{"reasoningContent":` + text + `},{"text":"Hello."}]}`
	}
	call := func(id, after, afterResult string) string {
		return user + `,{"role":"assistant","content":[{"toolUse":{"toolUseId":"` + id + `","name":"f","input":{}}}` + after + `]},{"role":"user","content":[{"toolResult":{"toolUseId":"` + id + `","content":[{"text":"x"}]}}` + afterResult + `]}`
	}
	signed, plain, sealed := `{"reasoningText":{"text":"Hm.","signature":"c2ln"}}`, `{"reasoningText":{"text":"Hm."}}`, `{"redactedContent":"c2ln"}`
	image := `{"image":{"format":"png","source":{"bytes":"iVBORw0KGgo="}}}`
	document := `{"document":{"format":"%s","name":"r","source":{"bytes":"JVBERi0="}}}`
	s := start(t)
	for _, c := range []struct{ model, turns, rest, want string }{
		{gptoss, user + "," + thought(signed) + "," + user, "", "reasoningContent.reasoningText.signature"},
		{kimi, user + "," + thought(sealed) + "," + user, "", "reasoningContent.redactedContent"},
		{gptoss, user + "," + thought(plain) + "," + user, "", ""},
		{nova, user + "," + thought(signed) + "," + user, "", "cannot contain reasoning content"},
		{nova, user + "," + thought(plain) + "," + user, "", "cannot contain reasoning content"},
		{"deepseek.v3-v1:0", user + "," + thought(sealed) + "," + user, "", "cannot contain reasoning content"},
		{llama, user + "," + thought(signed) + "," + user, "", "cannot contain reasoning content"},
		{"us.openai.gpt-5.6", user + "," + thought(sealed) + "," + user, "", ""},
		{claude, user + "," + thought(signed) + "," + user, "", ""},
		{claude, user + "," + thought(plain) + "," + user, "", "messages.1.content.0.thinking.signature: Field required"},
		{opaque, user + "," + thought(signed) + "," + user, "", ""},
		{claude, user + "," + strings.Replace(thought(signed), `,{"text":"Hello."}`, "", 1), "", "messages.1: The final block in an assistant message cannot be `thinking`"},
		{claude, user + "," + strings.Replace(thought(sealed), `,{"text":"Hello."}`, "", 1), "", "messages.1: The final block in an assistant message cannot be `thinking`"},
		{"us.openai.gpt-5.6", user + "," + strings.Replace(thought(sealed), `,{"text":"Hello."}`, "", 1), "", ""},

		{claude, user + "," + answered, "", ""},
		{sonnet, user + "," + answered, "", "does not support assistant message prefill"},
		{opus, user + "," + answered, "", "does not support assistant message prefill"},
		{nova, user + "," + answered, "", ""},

		{opus, user + "," + system, "", ""},
		{opus, user + "," + answered + "," + user + "," + system, "", ""},
		{opus, user + "," + system + "," + user, "", "messages.1: use the top-level"},
		{opus, system + "," + user, "", "messages.0: use the top-level"},
		{sonnet, user + "," + system, "", "Unexpected role"},
		{nova, user + "," + system, "", "Unexpected role"},

		{kimi, call("functions.f:0", "", ""), config, ""},
		{nova, call("functions.f:0", "", ""), config, "messages.1.content.0.toolUse.toolUseId: String should match pattern"},
		{claude, call("", "", ""), config, "between 1 and 64"},

		{nova, call("a1", "", point), config, "#/messages/2/content/1: extraneous key [cachePoint]"},
		{nova, call("a1", point, ""), config, "#/messages/1/content/1: extraneous key [cachePoint]"},
		{claude, call("a1", point, point), config, ""},
		{nova, `{"role":"user","content":[{"text":"hi"},` + image + point + `]}`, "", "#/messages/0/content/2"},
		{nova, `{"role":"user","content":[{"text":"hi"},` + fmt.Sprintf(document, "pdf") + point + `]}`, "", "#/messages/0/content/2"},
		{nova, `{"role":"user","content":[{"text":"hi"}` + point + `]}`, "", ""},
		{nova, `{"role":"user","content":[{"text":"hi"}` + hour + `]}`, "", "ttl 1h"},
		{claude, `{"role":"user","content":[{"text":"hi"}` + hour + `]}`, "", ""},
		{"us.anthropic.claude-sonnet-4-20250514-v1:0", `{"role":"user","content":[{"text":"hi"}` + hour + `]}`, "", "ttl 1h"},
		{claude, `{"role":"user","content":[{"text":"hi"}` + point + `,{"text":"ho"}` + hour + `]}`, "", "must not come after"},
		{claude, `{"role":"user","content":[{"text":"hi"},` + fmt.Sprintf(document, "docx") + point + `]}`, "", "messages.0.content.2.type: Field required"},
		{claude, `{"role":"user","content":[{"text":"hi"},` + fmt.Sprintf(document, "pdf") + point + `]}`, "", ""},
		{nova, `{"role":"user","content":[{"text":"1"}` + strings.Repeat(point+`,{"text":"x"}`, 5) + `]}`, "", "A maximum of 4"},

		{claude, call("a1", "", ""), config + `,"additionalModelRequestFields":{"thinking":{"type":"enabled","budget_tokens":1024}}`, "Expected `thinking` or `redacted_thinking`, but found `tool_use`"},
	} {
		for _, operation := range []string{"converse", "converse-stream"} {
			verdict(t, s, c.model, operation, `{"messages":[`+c.turns+`]`+comma(c.rest)+`}`, c.want)
		}
	}
}

// Reasoning comes back as it was given out, in its place, or Claude takes neither that turn nor a later one.
func TestATurnComesBackInItsOrder(t *testing.T) {
	s := start(t)
	const tools = `"tools":[{"name":"f","input_schema":{"type":"object"}}]`
	ask := `{"role":"user","content":"sim:interleave Go."}`
	body := func(messages string) string {
		return `{"anthropic_version":"bedrock-2023-05-31","max_tokens":4096,` + tools + `,"messages":[` + messages + `]}`
	}
	reply, err := parse(readAll(t, s.post(t, claude, "invoke", []byte(body(ask))).Body))
	if err != nil {
		t.Fatal(err)
	}
	content := items(reply, "content")
	if len(content) != 6 {
		t.Fatalf("%v", reply)
	}
	results := fmt.Sprintf(`{"role":"user","content":[{"type":"tool_result","tool_use_id":%q,"content":"x"},{"type":"tool_result","tool_use_id":%q,"content":"y"}]}`, str(content[3], "id"), str(content[5], "id"))
	pick := func(order ...int) string {
		var turn []any
		for _, i := range order {
			turn = append(turn, content[i])
		}
		return body(ask + `,{"role":"assistant","content":` + compact(turn) + `},` + results)
	}
	const words = "blocks in the latest assistant message cannot be modified"
	for order, want := range map[string]string{
		pick(0, 1, 2, 3, 4, 5): "",
		pick(1, 3, 5):          "", // all of it may be left out
		pick(0, 2, 4, 1, 3, 5): words,
		pick(0, 2, 1, 3, 4, 5): words,
		pick(0, 1, 3, 5):       words,
		pick(2, 1, 0, 3, 4, 5): words,
	} {
		verdict(t, s, claude, "invoke", order, want)
	}
	changed := strings.Replace(pick(0, 1, 2, 3, 4, 5), "Step 1", "Step 9", 1)
	verdict(t, s, claude, "invoke", changed, "Invalid `signature`")

	// Reasoning without a signature nobody takes back: the rest of its turn is whole without it.
	const gpt = "us.openai.gpt-5.6"
	ask = `{"role":"user","content":[{"text":"sim:redact Go."}]}`
	const effort = `"additionalModelRequestFields":{"reasoning":{"effort":"low"}}`
	if reply, err = parse(readAll(t, s.post(t, gpt, "converse", []byte(`{"messages":[`+ask+`],`+effort+`}`)).Body)); err != nil {
		t.Fatal(err)
	}
	whole, _ := reply.(map[string]any)
	output, _ := whole["output"].(map[string]any)
	message, _ := output["message"].(map[string]any)
	content = items(message, "content")
	if len(content) != 3 {
		t.Fatalf("%v", reply)
	}
	verdict(t, s, gpt, "converse", `{"messages":[`+ask+`,{"role":"assistant","content":`+compact([]any{content[0], content[2]})+`},{"role":"user","content":[{"text":"On."}]}],`+effort+`}`, "")
}

func readAll(t *testing.T, r interface {
	Read([]byte) (int, error)
}) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHabits: how models answer by the table.
func TestHabits(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		model, rest string
		want        []string
		not         string
	}{
		{"openai.gpt-oss-120b-1:0", tool("", openSchema), []string{`"stopReason":"end_turn"`, `"toolUse"`}, ""},
		{"openai.gpt-oss-120b-1:0", asks["native"].converse, []string{"Here is the JSON"}, ""},
		{"openai.gpt-oss-120b-1:0", asks["openai's effort"].converse, []string{`"reasoningText":{"text":"The caller`}, "signature"},
		{"us.anthropic.claude-opus-5", "", []string{`"reasoningText":{"signature":"`, `"text":""`}, ""},
		{"us.anthropic.claude-opus-5", asks["adaptive"].converse, []string{`"text":"The caller`}, ""},
		{"us.anthropic.claude-opus-5", asks["disabled"].converse, []string{`"text":"You said`}, "reasoningContent"},
		{"us.anthropic.claude-opus-5", `"inferenceConfig":{"maxTokens":4}`, []string{`"stopReason":"max_tokens"`}, "You said"},
		{"moonshot.kimi-k2-thinking", tool("", openSchema), []string{`"toolUseId":"functions.f:0"`}, ""},
		{"deepseek.v3-v1:0", tool("", openSchema, `"toolChoice":{"any":{}}`) + `,"additionalModelRequestFields":{"reasoning_effort":"high"}`, []string{`"stopReason":"end_turn"`}, "toolUse"},
	} {
		body := `{"messages":[{"role":"user","content":[{"text":"hi"}]}]` + comma(c.rest) + `}`
		reply := string(readAll(t, s.post(t, c.model, "converse", []byte(body)).Body))
		for _, want := range c.want {
			if !strings.Contains(reply, want) {
				t.Errorf("%s, %s: no %s in %s", c.model, c.rest, want, reply)
			}
		}
		if c.not != "" && strings.Contains(reply, c.not) {
			t.Errorf("%s, %s: %s in %s", c.model, c.rest, c.not, reply)
		}
	}
	// GPT's input holds what came from the cache, and all is cached unasked.
	body := []byte(`{"messages":[{"role":"user","content":[{"text":"` + strings.Repeat("many words ", 100) + `"}]}]}`)
	readAll(t, s.post(t, "us.openai.gpt-5.6", "converse", body).Body)
	reply, err := parse(readAll(t, s.post(t, "us.openai.gpt-5.6", "converse", body).Body))
	if err != nil {
		t.Fatal(err)
	}
	u := child(reply, "usage")
	if read := whole(u, "cacheReadInputTokens"); read < 200 || whole(u, "inputTokens") < read || whole(u, "totalTokens") != whole(u, "inputTokens")+whole(u, "outputTokens") {
		t.Errorf("%v", u)
	}
}
