package bedrock

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

const opaqueARN = "arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/ab12cd34ef56"

// sent is what of a body says how the model is asked, in either operation.
type sent struct {
	MaxTokens   *int     `json:"max_tokens"`
	Temperature *float64 `json:"temperature"`
	TopP        *float64 `json:"top_p"`
	TopK        *int     `json:"top_k"`
	Thinking    *struct {
		Type    string `json:"type"`
		Budget  int    `json:"budget_tokens"`
		Display string `json:"display"`
	} `json:"thinking"`
	Output struct {
		Effort string `json:"effort"`
	} `json:"output_config"`
	Choice *struct {
		Type   string `json:"type"`
		Serial bool   `json:"disable_parallel_tool_use"`
	} `json:"tool_choice"`

	Inference struct {
		MaxTokens   *int     `json:"maxTokens"`
		Temperature *float64 `json:"temperature"`
	} `json:"inferenceConfig"`
	Additional json.RawMessage `json:"additionalModelRequestFields"`
	Config     struct {
		Effort string `json:"effort"`
	} `json:"outputConfig"`
}

func ask(t testing.TB, m *resource.Model, r *chat.Request) (sent, *Call) {
	t.Helper()
	c := newCall(t, r, compile(m))
	var s sent
	if err := json.Unmarshal(c.body, &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Additional) > 0 { // of Converse: Claude's own members are there
		if err := json.Unmarshal(s.Additional, &s); err != nil {
			t.Fatal(err)
		}
	}
	if s.Inference.MaxTokens != nil {
		s.MaxTokens = s.Inference.MaxTokens
	}
	if s.Config.Effort != "" {
		s.Output.Effort = s.Config.Effort
	}
	return s, c
}

// claudes are one of each kind of thinking, by InvokeModel and by Converse.
func claudes() map[string]*resource.Model {
	out := map[string]*resource.Model{
		"profile":               {ModelName: opaqueARN, Publisher: "anthropic"},
		"by Converse, a budget": {ModelName: opaqueARN, Bedrock: resource.Bedrock{Capabilities: &resource.Capabilities{Reasoning: "budget"}}},
	}
	for _, id := range realIDs {
		if strings.Contains(id, "anthropic.") {
			out[id] = &resource.Model{ModelName: id}
		}
	}
	return out
}

// Whatever the effort and whoever named max_tokens, thinking has its room, an answer
// has some beside it, and more effort is more.
func TestRoomToThink(t *testing.T) {
	for name, m := range claudes() {
		f := compile(m).family
		if f.Capabilities.Reasoning == "none" {
			continue
		}
		for _, given := range []int{0, 500, 1024, 1025, 1030, 1500, 2048, 4096, 9000, 30000} {
			for _, by := range []string{"caller", "resource"} {
				before := 0
				for _, effort := range efforts {
					r, m := userSays("q"), *m
					r.Reasoning = &chat.Reasoning{Effort: effort}
					switch {
					case given > 0 && by == "caller":
						r.MaxTokens = &given
					case given > 0:
						m.MaxTokens = &given
					}
					s, c := ask(t, &m, r)
					switch {
					case s.MaxTokens == nil && strings.HasSuffix(c.address.url.Path, "/invoke"), given > 0 && *s.MaxTokens != given,
						given == 0 && s.MaxTokens != nil && f.MaxOutput > 0 && *s.MaxTokens > f.MaxOutput,
						given == 0 && s.MaxTokens != nil && *s.MaxTokens < 16384:
						t.Fatalf("%s, %d of the %s, %s: max_tokens in %s", name, given, by, effort, c.body)
					}
					if f.Capabilities.Reasoning != "budget" {
						if s.Thinking == nil || s.Thinking.Type != "adaptive" || s.Thinking.Display != "summarized" || s.Output.Effort == "" {
							t.Fatalf("%s, %s: %s", name, effort, c.body)
						}
						continue
					}
					if given > 0 && given <= minBudget {
						if s.Thinking != nil || len(c.Notes()) != 1 {
							t.Fatalf("%s, %d: %s, notes %q", name, given, c.body, c.Notes())
						}
						continue
					}
					if s.Thinking == nil || s.Thinking.Type != "enabled" || s.Thinking.Display != "" || s.Thinking.Budget < minBudget || s.Thinking.Budget >= *s.MaxTokens {
						t.Fatalf("%s, %d of the %s, %s: %s", name, given, by, effort, c.body)
					}
					if room := given == 0 || given >= minBudget+len(efforts); room && s.Thinking.Budget <= before {
						t.Errorf("%s, %d of the %s: %s is %d, less effort %d", name, given, by, effort, s.Thinking.Budget, before)
					}
					before = s.Thinking.Budget
				}
			}
		}
	}
}

// The caller's own budget has room where the caller named none; what the caller named
// stands, and Bedrock answers.
func TestRoomForACallersBudget(t *testing.T) {
	for name, m := range claudes() {
		f := compile(m).family
		for _, budget := range []int{1024, 4096, 5000, 16384, 20000, 31000} {
			thinks := func() *chat.Request {
				r := userSays("q")
				r.Reasoning = &chat.Reasoning{Thinking: marshal(map[string]any{"type": "enabled", "budget_tokens": budget})}
				return r
			}
			s, c := ask(t, m, thinks())
			fits := f.MaxOutput == 0 || budget < f.MaxOutput
			if s.Thinking == nil || s.Thinking.Budget != budget || fits && *s.MaxTokens <= budget || f.MaxOutput > 0 && *s.MaxTokens > f.MaxOutput {
				t.Errorf("%s, %d: %s", name, budget, c.body)
			}
			defaults := *m
			defaults.MaxTokens = ptr(4096) // a default, which nobody wants to be refused for
			if s, c := ask(t, &defaults, thinks()); fits && *s.MaxTokens <= budget {
				t.Errorf("%s, %d, with a default: %s", name, budget, c.body)
			}
			r := thinks()
			r.MaxTokens = ptr(2000)
			if s, _ := ask(t, m, r); *s.MaxTokens != 2000 || s.Thinking.Budget != budget {
				t.Errorf("%s, %d: the caller's 2000 became %+v", name, budget, s)
			}
		}
	}
}

// Where nobody says anything, Claude gets its family's max_tokens and Converse none.
func TestDefaultMaxTokens(t *testing.T) {
	for id, want := range map[string]int{
		"anthropic.claude-3-haiku-20240307-v1:0": 4096, claude35: 8192, claude37: 16384, "us.anthropic.claude-opus-4-1-20250805-v1:0": 16384,
		claude45: 16384, claude46: 16384, "us.anthropic.claude-opus-4-8": 16384, "anthropic.claude-opus-9-20300101-v1:0": 16384,
		"anthropic.claude-sonnet-5": 32000, "us.anthropic.claude-opus-5-5": 32000, "global.anthropic.claude-fable-5-1": 32000, "global.anthropic.claude-haiku-5-5": 32000,
		nova: 0, nova2: 0, gptOSS: 0, "us.openai.gpt-5.6-sol": 0, llama33: 0, "zai.glm-4.7": 0, unknownID: 0, opaqueARN: 0,
	} {
		for _, stream := range []bool{false, true} {
			r := userSays("q")
			r.Stream = stream
			s, c := ask(t, &resource.Model{ModelName: id}, r)
			if got := s.MaxTokens; (got == nil) != (want == 0) || got != nil && *got != want {
				t.Errorf("%s: want %d in %s", id, want, c.body)
			}
		}
	}
}

// Each row is one wish: what goes out of it, and what the operator is told.
func TestWishes(t *testing.T) {
	const (
		claude48, haiku55, sonnet5, opus55, fable51 = "us.anthropic.claude-opus-4-8", "global.anthropic.claude-haiku-5-5", "anthropic.claude-sonnet-5", "us.anthropic.claude-opus-5-5", "global.anthropic.claude-fable-5-1"
		gpt, glm, deepseek, kimi, llama1b           = "us.openai.gpt-5.6-sol", "zai.glm-4.7", "deepseek.v3-v1:0", "moonshotai.kimi-k2.5", "us.meta.llama3-2-1b-instruct-v1:0"
	)
	tool := chat.Tool{Name: "f", Schema: looseSchema}
	wish := func(changes ...func(*chat.Request)) *chat.Request {
		r := userSays("q")
		for _, change := range changes {
			change(r)
		}
		return r
	}
	effort := func(e string) func(*chat.Request) {
		return func(r *chat.Request) {
			if r.Reasoning == nil {
				r.Reasoning = &chat.Reasoning{}
			}
			r.Reasoning.Effort = e
		}
	}
	thinking := func(raw string) func(*chat.Request) {
		return func(r *chat.Request) { r.Reasoning = &chat.Reasoning{Thinking: json.RawMessage(raw)} }
	}
	tools := func(mode chat.ToolChoiceMode) func(*chat.Request) {
		return func(r *chat.Request) {
			r.Tools, r.ToolChoice.Mode = []chat.Tool{tool}, mode
			if mode == chat.ToolChoiceTool {
				r.ToolChoice.Name = "f"
			}
		}
	}
	serial := func(r *chat.Request) { r.ParallelToolCalls = ptr(false) }
	temperature := func(x float64) func(*chat.Request) { return func(r *chat.Request) { r.Temperature = &x } }
	topP := func(x float64) func(*chat.Request) { return func(r *chat.Request) { r.TopP = &x } }
	topK := func(r *chat.Request) { r.Extensions = map[string]json.RawMessage{"top_k": json.RawMessage(`5`)} }
	most := func(n int) func(*chat.Request) { return func(r *chat.Request) { r.MaxTokens = &n } }
	format := func(r *chat.Request) {
		r.Format = &chat.Format{Name: "n", Schema: json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}`)}
	}
	fields := func(raw string) resource.Bedrock {
		return resource.Bedrock{AdditionalModelRequestFields: json.RawMessage(raw)}
	}
	verbosity := func(r *chat.Request) { r.Verbosity = "low" }
	ignoring := func(names ...string) resource.Bedrock { return resource.Bedrock{IgnoreParams: names} }
	for _, tt := range []struct {
		name    string
		model   string
		req     *chat.Request
		options resource.Bedrock
		api     string
		want    []string
		missing []string
		note    string // in the notes; "" is no note
		refused string
	}{
		// Display of adaptive thinking.
		{name: "the caller's adaptive gets a display", model: claude48, req: wish(thinking(`{ "type": "adaptive" }`)), want: []string{`"thinking":{"type":"adaptive","display":"summarized"}`}},
		{name: "null says nothing", model: claude48, req: wish(thinking(`{"type":"adaptive","display":null}`)), want: []string{`"display":"summarized"`}, missing: []string{"null"}},
		{name: "the caller's own display", model: claude48, req: wish(thinking(`{"type":"adaptive","display":"omitted"}`)), want: []string{`"thinking":{"type":"adaptive","display":"omitted"}`}},
		{name: "a budget gets none", model: claude45, req: wish(thinking(`{"type":"enabled","budget_tokens":2000}`)), want: []string{`"thinking":{"type":"enabled","budget_tokens":2000}`}},
		{name: "by Converse, where nobody knows the model", model: opaqueARN, req: wish(thinking(`{"type":"adaptive"}`)), want: []string{`"thinking":{"type":"adaptive","display":"summarized"}`}},
		{name: "nor does disabled", model: sonnet5, req: wish(thinking(`{"type":"disabled"}`)), want: []string{`"thinking":{"type":"disabled"}`}},

		// An effort beside the caller's own object.
		{name: "adaptive leaves the effort open", model: claude48, req: wish(thinking(`{"type":"adaptive"}`), effort("xhigh")), want: []string{`"output_config":{"effort":"xhigh"}`}},
		{name: "in the family's words", model: claude46, req: wish(thinking(`{"type":"adaptive"}`), effort("minimal")), want: []string{`"output_config":{"effort":"low"}`}},
		{name: "by Converse", model: opaqueARN, req: wish(thinking(`{"type":"adaptive"}`), effort("high")), want: []string{`"outputConfig":{"effort":"high"}`, `"thinking":{"type":"adaptive","display":"summarized"}`}},
		{name: "a budget wins", model: claude45, req: wish(thinking(`{"type":"enabled","budget_tokens":2000}`), effort("high")), want: []string{`"budget_tokens":2000`}, missing: []string{"output_config"}, note: "reasoning_effort"},
		{name: "so does disabled", model: claude48, req: wish(thinking(`{"type":"disabled"}`), effort("high")), want: []string{`{"type":"disabled"}`}, missing: []string{"output_config"}, note: "reasoning_effort"},
		{name: "and adaptive over none", model: claude48, req: wish(thinking(`{"type":"adaptive"}`), effort("none")), want: []string{`"adaptive"`}, missing: []string{"output_config"}, note: "reasoning_effort"},

		// none.
		{name: "none where it is so anyway", model: claude48, req: wish(effort("none")), missing: []string{"thinking", "output_config"}},
		{name: "none where it thinks unasked", model: sonnet5, req: wish(effort("none")), want: []string{`"thinking":{"type":"disabled"}`, `"max_tokens":32000`}},
		{name: "none to haiku", model: haiku55, req: wish(effort("none")), want: []string{`"thinking":{"type":"disabled"}`}},
		{name: "none where it can't be told", model: opus55, req: wish(effort("none")), missing: []string{"thinking"}, note: "always thinks"},
		{name: "none to fable", model: fable51, req: wish(effort("none")), missing: []string{"thinking"}, note: "always thinks"},
		{name: "none to a budget", model: claude37, req: wish(effort("none")), missing: []string{"thinking"}},
		{name: "none to GPT", model: gpt, req: wish(effort("none")), want: []string{`"reasoning":{"effort":"none"}`}},
		{name: "none to GLM", model: glm, req: wish(effort("none")), missing: []string{"reasoning"}},
		{name: "none where there is no reasoning", model: nova, req: wish(effort("none")), missing: []string{"reasoning"}},
		{name: "a resource knows better", model: claude48, req: wish(effort("none")), options: resource.Bedrock{Capabilities: &resource.Capabilities{Thinks: "unasked"}}, want: []string{`"thinking":{"type":"disabled"}`}},

		// Forced tools.
		{name: "an effort gives way to required", model: claude45, req: wish(effort("high"), tools(chat.ToolChoiceAny)), want: []string{`"tool_choice":{"type":"any"}`}, missing: []string{"thinking"}, note: "beside a tool"},
		{name: "and to a named tool", model: claude37, req: wish(effort("low"), tools(chat.ToolChoiceTool)), want: []string{`"tool_choice":{"type":"tool","name":"f"}`}, missing: []string{"thinking"}, note: "beside a tool"},
		{name: "not to auto", model: claude45, req: wish(effort("high"), tools(chat.ToolChoiceAuto)), want: []string{`"thinking"`}},
		{name: "adaptive keeps its effort", model: claude48, req: wish(effort("low"), tools(chat.ToolChoiceAny)), want: []string{`"output_config":{"effort":"low"}`}, missing: []string{"thinking"}, note: "beside a tool"},
		{name: "unasked is told not to", model: haiku55, req: wish(tools(chat.ToolChoiceAny)), want: []string{`"thinking":{"type":"disabled"}`, `{"type":"any"}`}},
		{name: "the caller's object is passed on", model: claude45, req: wish(thinking(`{"type":"enabled","budget_tokens":2000}`), tools(chat.ToolChoiceAny)), want: []string{`"budget_tokens":2000`, `{"type":"any"}`}},
		{name: "to adaptive ones too", model: claude48, req: wish(thinking(`{"type":"adaptive"}`), tools(chat.ToolChoiceAny)), want: []string{`"adaptive"`, `{"type":"any"}`}},
		{name: "no forced tool", model: opus55, req: wish(tools(chat.ToolChoiceAny)), refused: "tool_choice"},
		{name: "none of fable's by name", model: fable51, req: wish(tools(chat.ToolChoiceTool)), refused: "tool_choice"},
		{name: "where it is offered it may think", model: opus55, req: wish(effort("low"), format), want: []string{`"tool_choice":{"type":"auto"}`, `"adaptive"`}},
		{name: "DeepSeek", model: deepseek, req: wish(effort("high"), tools(chat.ToolChoiceAny)), want: []string{`"any"`}, missing: []string{"reasoning"}, note: "beside a tool"},
		{name: "others think beside it", model: nova2, req: wish(effort("low"), tools(chat.ToolChoiceAny)), want: []string{`"any"`, `"maxReasoningEffort":"low"`}},
		{name: "gpt-oss too", model: gptOSS, req: wish(effort("low"), tools(chat.ToolChoiceAny)), want: []string{`"reasoning_effort":"low"`}},

		// Sampling.
		{name: "a habit", model: claude48, req: wish(temperature(1), topP(1)), missing: []string{"temperature", "top_p"}, note: "temperature"},
		{name: "a temperature", model: claude48, req: wish(temperature(0)), refused: "temperature"},
		{name: "a top_p", model: haiku55, req: wish(topP(0.9)), refused: "top_p"},
		{name: "a top_k", model: sonnet5, req: wish(topK), refused: "top_k"},
		{name: "what the operator ignores", model: claude48, req: wish(temperature(0.2), topP(0.9), topK), options: ignoring("temperature", "top_p", "top_k"), missing: []string{"temperature", "top_p", "top_k"}, note: "top_k"},
		{name: "a model yet to come", model: "us.anthropic.claude-opus-6-v1:0", req: wish(temperature(0.2)), refused: "temperature"},
		{name: "but not one that hides its name", model: "anthropic.application-inference-profile-ab12", req: wish(temperature(0.2)), want: []string{`"temperature":0.2`}},
		{name: "a resource knows better here", model: claude48, req: wish(temperature(0.2)), options: resource.Bedrock{Capabilities: &resource.Capabilities{Sampling: ptr(true)}}, want: []string{`"temperature":0.2`}},
		{name: "of Converse as well", model: nova, req: wish(temperature(0.2)), options: resource.Bedrock{Capabilities: &resource.Capabilities{Sampling: ptr(false)}}, refused: "temperature"},
		{name: "older ones take it", model: claude46, req: wish(temperature(0.2), topK), want: []string{`"temperature":0.2`, `"top_k":5`}},
		{name: "not while an effort makes them think", model: claude45, req: wish(temperature(0.2), topK, effort("low")), want: []string{`"thinking"`}, missing: []string{"temperature", "top_k"}, note: "temperature"},
		{name: "adaptively too", model: claude46, req: wish(topP(0.5), effort("low")), want: []string{`"thinking"`}, missing: []string{"top_p"}, note: "top_p"},
		{name: "but what goes with it", model: claude45, req: wish(topP(0.95), effort("low")), want: []string{`"top_p":0.95`}},
		{name: "and 1", model: claude45, req: wish(temperature(1), effort("low")), want: []string{`"temperature":1`}},
		{name: "the caller's own object is for Bedrock to judge", model: claude45, req: wish(temperature(0.2), thinking(`{"type":"enabled","budget_tokens":2000}`)), want: []string{`"temperature":0.2`}},

		// parallel_tool_calls.
		{name: "no control", model: claude35, req: wish(tools(""), serial), missing: []string{"disable_parallel", "tool_choice"}, note: "parallel_tool_calls"},
		{name: "no control, required", model: claude37, req: wish(tools(chat.ToolChoiceAny), serial), want: []string{`"tool_choice":{"type":"any"}`}, note: "parallel_tool_calls"},
		{name: "a control", model: "us.anthropic.claude-sonnet-4-20250514-v1:0", req: wish(tools(""), serial), want: []string{`"tool_choice":{"type":"auto","disable_parallel_tool_use":true}`}},
		{name: "of a new one", model: haiku55, req: wish(tools(""), serial), want: []string{`"disable_parallel_tool_use":true`}},
		{name: "no tools", model: claude35, req: wish(serial), missing: []string{"tool_choice"}},

		// Families.
		{name: "GPT's effort", model: gpt, req: wish(effort("xhigh")), want: []string{`"additionalModelRequestFields":{"reasoning":{"effort":"xhigh"}}`}},
		{name: "GPT's least", model: "global.openai.gpt-6.1", req: wish(effort("minimal")), want: []string{`"reasoning":{"effort":"low"}`}},
		{name: "of one yet to come", model: "us.openai.gpt-5.8-mini", req: wish(effort("high")), want: []string{`"reasoning":{"effort":"high"}`}},
		{name: "or written otherwise", model: "global.openai.gpt-5-6", req: wish(effort("high"), format), want: []string{`"reasoning":{"effort":"high"}`, `"strict":true`}},
		{name: "GPT's format", model: gpt, req: wish(format), want: []string{`"additionalModelRequestFields":{"text":{"format":{"strict":true}}}`, `"textFormat"`}},
		{name: "gpt-oss has none of it", model: gptOSS, req: wish(format), want: []string{`"json_output"`}, missing: []string{"textFormat", `"strict"`}},
		{name: "merged deeply", model: gpt, req: wish(format, effort("high")), options: fields(`{"text":{"verbosity":"low","format":{"x":1}},"reasoning":{"summary":"auto"}}`),
			want: []string{`"reasoning":{"effort":"high","summary":"auto"}`, `"text":{"format":{"strict":true,"x":1},"verbosity":"low"}`}},
		{name: "the operator's effort of GPT", model: gpt, req: wish(effort("high")), options: fields(`{"reasoning":{"effort":"low"}}`), want: []string{`"reasoning":{"effort":"low"}`}, missing: []string{"high"}, note: "reasoning is set"},
		{name: "how long GPT answers", model: "openai.gpt-5.5", req: wish(verbosity), want: []string{`"text":{"verbosity":"low"}`}},
		{name: "as the operator says", model: "openai.gpt-5.5", req: wish(verbosity), options: fields(`{"text":{"verbosity":"high"}}`), want: []string{`"text":{"verbosity":"high"}`}, note: "text.verbosity is set"},
		{name: "which Claude can't be told", model: claude48, req: wish(verbosity), refused: "verbosity"},
		{name: "nor who is not known", model: "acme.model-1", req: wish(verbosity), refused: "verbosity"},
		{name: "who may know it by OpenAI's own API", model: "acme.model-1", req: wish(verbosity), api: "chat", want: []string{`"verbosity":"low"`}},
		{name: "but nobody insists on it everywhere", model: claude48, req: wish(verbosity, func(r *chat.Request) { r.VerbosityWish = true }), missing: []string{"verbosity"}, note: "text.verbosity was left out"},
		{name: "some of the tools, and ours", model: "openai.gpt-5.5", req: wish(format, func(r *chat.Request) {
			r.Tools, r.ToolChoice = []chat.Tool{{Name: "f"}, {Name: "g"}}, chat.ToolChoice{Mode: chat.ToolChoiceAuto, Only: []string{"g"}}
		}), options: resource.Bedrock{Capabilities: &resource.Capabilities{StructuredOutput: "tool"}}, want: []string{`"name":"g"`, `"name":"json_output"`}, missing: []string{`"name":"f"`, "allowed_tools"}},
		{name: "GLM's effort", model: glm, req: wish(effort("medium")), want: []string{`"reasoning_config":"medium"`}},
		{name: "GLM's most", model: glm, req: wish(effort("max")), want: []string{`"reasoning_config":"high"`}},
		{name: "Kimi's effort", model: kimi, req: wish(effort("xhigh")), want: []string{`"reasoning_effort":"high"`}},
		{name: "small Llamas have no tools", model: llama1b, req: wish(tools("")), refused: "tools"},
		{name: "nor structured output", model: llama1b, req: wish(format), refused: "response_format"},
		{name: "Nova 2 at high", model: nova2, req: wish(effort("xhigh"), most(100), temperature(0.5), topP(0.5)), want: []string{`"maxReasoningEffort":"high"`}, missing: []string{"inferenceConfig"}, note: "takes no max_tokens"},
		{name: "the resource's default too", model: nova2, req: wish(effort("high")), options: resource.Bedrock{MaxTokens: ptr(100)}, missing: []string{"inferenceConfig"}, note: "takes no max_tokens"},
		{name: "not at medium", model: nova2, req: wish(effort("medium"), most(100), temperature(0.5)), want: []string{`"inferenceConfig":{"maxTokens":100,"temperature":0.5}`}},
		{name: "at the operator's high", model: nova2, req: wish(most(100)), options: fields(`{"reasoningConfig":{"type":"enabled", "maxReasoningEffort":"high"}}`), missing: []string{"inferenceConfig"}, note: "takes no max_tokens"},
		{name: "not where the operator says none", model: nova2, req: wish(effort("high"), most(100)), options: fields(`{"reasoningConfig":{"type":"disabled"}}`), want: []string{`"reasoningConfig":{"type":"disabled"}`, `"maxTokens":100`}, note: "reasoningConfig is set"},

		// What the operator wrote.
		{name: "thinking", model: claude48, req: wish(effort("high")), options: fields(`{"thinking":{"type":"disabled"}}`), want: []string{`"thinking":{"type":"disabled"}`, `"max_tokens":16384`}, missing: []string{"output_config", "adaptive"}, note: "thinking is set"},
		{name: "over the caller's object", model: claude45, req: wish(thinking(`{"type":"enabled","budget_tokens":9000}`)), options: fields(`{"thinking":{"type":"enabled","budget_tokens":20000}}`), want: []string{`"thinking":{"type":"enabled","budget_tokens":20000}`, `"max_tokens":36384`}, missing: []string{"9000"}, note: "thinking is set"},
		{name: "by Converse too", model: opaqueARN, req: wish(effort("high")), options: fields(`{"thinking":{"type":"disabled"}}`), want: []string{`"additionalModelRequestFields":{"thinking":{"type":"disabled"}}`}, missing: []string{"outputConfig"}, note: "thinking is set"},
		{name: "a budget by Converse has room", model: opaqueARN, req: wish(), options: fields(`{"thinking":{"type":"enabled","budget_tokens":5000}}`), want: []string{`"maxTokens":21384`}},
		{name: "and over what a caller can't know to be too little", model: claude45, req: wish(most(4096)), options: fields(`{"thinking":{"type":"enabled","budget_tokens":20000}}`), want: []string{`"max_tokens":24096`}, note: "was raised"},
		{name: "but not where it fits", model: claude45, req: wish(most(30000)), options: fields(`{"thinking":{"type":"enabled","budget_tokens":20000}}`), want: []string{`"max_tokens":30000`}},
		{name: "another family's member of that name", model: kimi, req: wish(effort("high"), temperature(0.5)), options: fields(`{"thinking":{"type":"enabled"}}`), want: []string{`"reasoning_effort":"high"`, `"thinking":{"type":"enabled"}`, `"temperature":0.5`}},
		{name: "max_tokens, and budgets keep under it", model: claude45, req: wish(effort("high"), most(60000)), options: fields(`{"max_tokens":3000}`), want: []string{`"max_tokens":3000`, `"budget_tokens":1759`}, missing: []string{"60000"}, note: "max_tokens is set"},
		{name: "max_tokens on Converse", model: nova, req: wish(most(9)), options: fields(`{"max_tokens":3000}`), want: []string{`"additionalModelRequestFields":{"max_tokens":3000}`}, missing: []string{"inferenceConfig"}, note: "max_tokens is set"},
		{name: "temperature", model: claude46, req: wish(temperature(0.2)), options: fields(`{"temperature":0.7}`), want: []string{`"temperature":0.7`}, missing: []string{"0.2"}, note: "temperature is set"},
		{name: "temperature where the caller's would be refused", model: claude48, req: wish(temperature(0.2)), options: fields(`{"temperature":0.7}`), want: []string{`"temperature":0.7`}, missing: []string{"0.2"}, note: "temperature is set"},
		{name: "temperature, beside which Claude does not think", model: claude45, req: wish(effort("high")), options: fields(`{"temperature":0.1}`), want: []string{`"temperature":0.1`}, missing: []string{"thinking"}, note: "beside the sampling parameters"},
		{name: "top_k", model: claude46, req: wish(effort("high")), options: fields(`{"top_k":5}`), want: []string{`"top_k":5`, `"output_config":{"effort":"high"}`}, missing: []string{"thinking"}, note: "beside the sampling parameters"},
		{name: "top_p", model: claude37, req: wish(effort("low")), options: fields(`{"top_p":0.5}`), missing: []string{"thinking"}, note: "beside the sampling parameters"},
		{name: "but beside those that go with it", model: claude45, req: wish(effort("low")), options: fields(`{"temperature":1,"top_p":0.95,"top_k":null}`), want: []string{`"thinking"`}},
		{name: "and other families think", model: gptOSS, req: wish(effort("low")), options: fields(`{"temperature":0.1}`), want: []string{`"reasoning_effort":"low"`}},
		{name: "an effort", model: claude48, req: wish(effort("max")), options: fields(`{"output_config":{"effort":"low"}}`), want: []string{`"output_config":{"effort":"low"}`, `"adaptive"`}, missing: []string{`"max"`}, note: "output_config.effort is set"},
		{name: "an effort beside our format", model: claude45, req: wish(format), options: fields(`{"output_config":{"effort":"low"}}`), want: []string{`"output_config":{"effort":"low","format":{"type":"json_schema"`}},
		{name: "stop_sequences", model: claude45, req: wish(func(r *chat.Request) { r.Stop = []string{"a"} }), options: fields(`{"stop_sequences":["b"]}`), want: []string{`"stop_sequences":["b"]`}, missing: []string{`"a"`}, note: "stop is set"},
		{name: "betas are added up", model: claude45, req: wish(), options: resource.Bedrock{AnthropicBeta: []string{"x"}, AdditionalModelRequestFields: json.RawMessage(`{"anthropic_beta":["y","x"]}`)}, want: []string{`"anthropic_beta":["y","x"]`}},
		{name: "a request's override wins as well", model: claude48, req: wish(effort("high"), func(r *chat.Request) {
			r.Extensions = map[string]json.RawMessage{"additionalModelRequestFields": json.RawMessage(`{"thinking":{"type":"disabled"}}`)}
		}), options: resource.Bedrock{AllowOverride: []string{"additionalModelRequestFields"}}, want: []string{`{"type":"disabled"}`}, missing: []string{"output_config"}, note: "thinking is set"},
		{name: "the request itself is not among them", model: claude45, req: wish(tools("")), options: fields(`{"tool_choice":{"type":"any"}}`), refused: "tool_choice"},
	} {
		for _, stream := range []bool{false, true} {
			tt.req.Stream = stream
			c, err := NewCall(t.Context(), tt.req, compile(&resource.Model{ModelName: tt.model, API: tt.api, Bedrock: tt.options}), bodyLimit)
			if tt.refused != "" {
				var f *fault.Error
				if !errors.As(err, &f) || f.Status != 400 || f.Param != tt.refused {
					t.Errorf("%s: %v, want a 400 for %s", tt.name, err, tt.refused)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			body := string(c.body)
			for _, want := range tt.want {
				if !strings.Contains(body, want) {
					t.Errorf("%s: no %s in\n%s", tt.name, want, body)
				}
			}
			for _, missing := range tt.missing {
				if strings.Contains(body, missing) {
					t.Errorf("%s: %s in\n%s", tt.name, missing, body)
				}
			}
			if has := slices.ContainsFunc(c.Notes(), func(n string) bool { return strings.Contains(n, tt.note) }); tt.note != "" && !has || tt.note == "" && len(c.Notes()) > 0 {
				t.Errorf("%s: notes %q, want %q among them", tt.name, c.Notes(), tt.note)
			}
			for _, member := range []string{"max_tokens", "temperature", "thinking", "output_config", "anthropic_beta"} {
				if strings.Count(body, `"`+member+`":`) > 1 {
					t.Errorf("%s: %s twice in\n%s", tt.name, member, body)
				}
			}
		}
	}
}
