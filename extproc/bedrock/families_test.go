package bedrock

import (
	"encoding/json"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"
)

// realIDs are ids as AWS's pages list them, of every family that has a row.
var realIDs = []string{
	"anthropic.claude-v2:1", "anthropic.claude-instant-v1", "anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-sonnet-20240229-v1:0:200k",
	"us.anthropic.claude-3-opus-20240229-v1:0", "anthropic.claude-3-5-sonnet-20240620-v1:0", "apac.anthropic.claude-3-5-sonnet-20241022-v2:0", "us.anthropic.claude-3-5-haiku-20241022-v1:0",
	"eu.anthropic.claude-3-7-sonnet-20250219-v1:0", "us.anthropic.claude-sonnet-4-20250514-v1:0", "us.anthropic.claude-opus-4-20250514-v1:0", "us.anthropic.claude-opus-4-1-20250805-v1:0",
	"global.anthropic.claude-sonnet-4-5-20250929-v1:0", "jp.anthropic.claude-haiku-4-5-20251001-v1:0", "global.anthropic.claude-opus-4-5-20251101-v1:0",
	"us-gov.anthropic.claude-sonnet-4-5-20250929-v1:0", "au.anthropic.claude-sonnet-4-6", "global.anthropic.claude-opus-4-6-v1", "anthropic.claude-opus-4-7", "us.anthropic.claude-opus-4-8", "anthropic.claude-sonnet-5", "us.anthropic.claude-sonnet-5-5",
	"us.anthropic.claude-fable-5", "global.anthropic.claude-fable-5-1", "anthropic.claude-mythos-5-1", "global.anthropic.claude-opus-5", "us.anthropic.claude-opus-5-5", "global.anthropic.claude-haiku-5-5",
	"amazon.nova-micro-v1:0", "us.amazon.nova-lite-v1:0", "ca.amazon.nova-pro-v1:0:300k", "us.amazon.nova-premier-v1:0", "global.amazon.nova-2-lite-v1:0",
	"amazon.titan-text-express-v1", "amazon.titan-tg1-large",
	"meta.llama2-70b-chat-v1", "meta.llama3-8b-instruct-v1:0", "meta.llama3-70b-instruct-v1:0", "us.meta.llama3-1-405b-instruct-v1:0", "us.meta.llama3-2-1b-instruct-v1:0", "us.meta.llama3-2-3b-instruct-v1:0", "us.meta.llama3-2-11b-instruct-v1:0", "meta.llama3-3-70b-instruct-v1:0", "us.meta.llama4-scout-17b-instruct-v1:0",
	"mistral.mistral-7b-instruct-v0:2", "mistral.mixtral-8x7b-instruct-v0:1", "mistral.mistral-large-2402-v1:0", "us.mistral.pixtral-large-2502-v1:0",
	"cohere.command-r-v1:0", "cohere.command-r-plus-v1:0", "ai21.jamba-1-5-mini-v1:0", "us.deepseek.r1-v1:0", "deepseek.v3-v1:0", "openai.gpt-oss-20b-1:0", "us.openai.gpt-5.6-sol", "global.openai.gpt-6.1", "minimax.minimax-m2", "zai.glm-4.7", "moonshot.kimi-k2-thinking", "moonshotai.kimi-k2.5", "qwen.qwen3-coder-30b-a3b-v1:0", "us.writer.palmyra-x5-v1:0",
	"us.xai.grok-4.6", "us.moonshotai.kimi-k3", "openai.gpt-5.4", "openai.gpt-5.5", "xai.grok-4.3", "anthropic.claude-opus-4-1", "google.gemma-4-31b", "openai.gpt-oss-20b", "openai.gpt-oss-120b", "openai.gpt-oss-safeguard-20b", "openai.gpt-oss-safeguard-120b",
}

// A pattern that matches nothing real is a slip of the pen.
func TestEveryPatternMatchesARealModel(t *testing.T) {
	for _, row := range families {
		for _, pattern := range row.match {
			if !slices.ContainsFunc(realIDs, func(id string) bool { ok, _ := path.Match(pattern, baseID(id, resource.Publisher(id))); return ok }) {
				t.Errorf("%s matches none", pattern)
			}
		}
	}
	for _, id := range realIDs {
		if target(id).family.Capabilities.System == nil {
			t.Errorf("nothing is known of %s", id)
		}
	}
}

func TestFamilies(t *testing.T) {
	for _, tt := range []struct {
		id   string
		want string // some members, as JSON
	}{
		{"anthropic.claude-instant-v1", `{"tools":false,"images":false,"cache":[],"reasoning":"none","structured_output":"tool"}`},
		{"anthropic.claude-3-haiku-20240307-v1:0", `{"tools":true,"images":true,"cache":[],"reasoning":"none","structured_output":"tool","strict_tools":false}`},
		{"us.anthropic.claude-3-5-sonnet-20241022-v2:0", `{"cache":["system","messages","tools"],"cache_ttl":["5m"],"reasoning":"none","structured_output":"tool"}`},
		{"eu.anthropic.claude-3-7-sonnet-20250219-v1:0", `{"reasoning":"budget","structured_output":"tool","cache_ttl":["5m"]}`},
		{"us.anthropic.claude-sonnet-4-20250514-v1:0", `{"reasoning":"budget","structured_output":"tool","cache_ttl":["5m"]}`},
		{"us.anthropic.claude-opus-4-1-20250805-v1:0", `{"reasoning":"budget","structured_output":"tool","cache_ttl":["5m"]}`},
		{"global.anthropic.claude-sonnet-4-5-20250929-v1:0", `{"reasoning":"budget","structured_output":"native","strict_tools":true,"cache_ttl":["5m","1h"]}`},
		{"jp.anthropic.claude-haiku-4-5-20251001-v1:0", `{"reasoning":"budget","structured_output":"native","cache_ttl":["5m","1h"]}`},
		{"global.anthropic.claude-opus-4-6-v1", `{"reasoning":"adaptive","structured_output":"native","tool_choice":["auto","any","tool"]}`},
		{"anthropic.claude-opus-9-20300101-v1:0", `{"reasoning":"adaptive","structured_output":"tool","strict_tools":false}`},
		{"us.anthropic.claude-sonnet-5-5", `{"reasoning":"adaptive","tool_choice":["auto"]}`},
		{"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-haiku-20240307-v1:0", `{"reasoning":"none","cache":[]}`},
		{"arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-micro-v1:0", `{"images":false,"cache":["system","messages"],"cache_ttl":["5m"]}`},
		{"us.amazon.nova-2-lite-v1:0", `{"images":true,"reasoning":"effort"}`},
		{"amazon.nova-pro-v1:0", `{"reasoning":"none","tool_schema":"plain"}`},
		{"meta.llama3-8b-instruct-v1:0", `{"tools":false}`},
		{"us.meta.llama3-1-8b-instruct-v1:0", `{"tools":true,"tool_choice":["auto"]}`},
		{"deepseek.r1-v1:0", `{"tools":false,"reasoning":"none"}`},
		{"deepseek.v3-v1:0", `{"tools":true,"tool_choice":["auto","any"],"reasoning":"effort"}`},
		{"deepseek.v3-v1:0", `{"stop_max":0}`},
		{"qwen.qwen3-coder-30b-a3b-v1:0", `{"stop_max":0}`},
		{"openai.gpt-oss-20b-1:0", `{"stop_max":0}`},
		{"openai.gpt-oss-20b", `{"stop_max":null,"sampling":null}`}, // by Chat Completions
		{"deepseek.r1-v1:0", `{"stop_max":null}`},
		{"us.xai.grok-4.6", `{"stop_max":0,"sampling":false}`},
		{"global.openai.gpt-6.1", `{"sampling":false,"stop_max":null}`},
		{"us.openai.gpt-5.6-sol", `{"sampling":null}`},
		{"us.moonshotai.kimi-k3", `{"sampling":false}`},
		{"moonshot.kimi-k2-thinking", `{"sampling":null}`},
		{"novel.model-v1:0", `{}`},
	} {
		got, err := json.Marshal(target(tt.id).family.Capabilities)
		if err != nil {
			t.Fatal(err)
		}
		var have, want map[string]any
		if json.Unmarshal(got, &have) != nil || json.Unmarshal([]byte(tt.want), &want) != nil {
			t.Fatal(tt)
		}
		for name, value := range want {
			if !reflect.DeepEqual(have[name], value) {
				t.Errorf("%s: %s is %v, want %v", tt.id, name, have[name], value)
			}
		}
		if tt.want == `{}` && len(have) > 0 {
			t.Errorf("%s: %s is known", tt.id, got)
		}
	}
}

// A model resource's publisher, and its own capabilities, win.
func TestAResourceOverrulesEachCapability(t *testing.T) {
	yes, three := true, 3
	for _, id := range []string{"amazon.titan-text-express-v1", "novel.model-v1:0", "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc"} {
		fields := reflect.TypeFor[resource.Capabilities]()
		for i := range fields.NumField() {
			says := &resource.Capabilities{}
			f := reflect.ValueOf(says).Elem().Field(i)
			switch f.Interface().(type) {
			case *bool:
				f.Set(reflect.ValueOf(&yes))
			case *int:
				f.Set(reflect.ValueOf(&three))
			case []string:
				f.Set(reflect.ValueOf([]string{"overruled"}))
			case string:
				f.SetString("overruled")
			default:
				t.Fatalf("%s is of a type that nobody overlays", fields.Field(i).Name)
			}
			got := reflect.ValueOf(compile(&resource.Model{ModelName: id, Bedrock: resource.Bedrock{Capabilities: says}}).family.Capabilities).Field(i)
			if !reflect.DeepEqual(got.Interface(), f.Interface()) {
				t.Errorf("%s: %s is not overruled", id, fields.Field(i).Name)
			}
		}
	}
	none := &resource.Capabilities{ToolChoice: []string{}}
	if got := compile(&resource.Model{ModelName: "deepseek.v3-v1:0", Bedrock: resource.Bedrock{Capabilities: none}}).family.Capabilities.ToolChoice; got == nil || len(got) > 0 {
		t.Errorf("an empty list leaves %v", got)
	}
	to := compile(&resource.Model{ModelName: "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12", Publisher: "anthropic"})
	if c := newCall(t, userSays("hi"), to); !strings.HasSuffix(c.address.url.EscapedPath(), "/invoke") {
		t.Errorf("a profile that is said to be Claude's goes to %s", c.address.url.EscapedPath())
	}
	if f := to.family; f.Capabilities.Reasoning != "adaptive" {
		t.Errorf("and is %+v", f.Capabilities)
	}
}

// Everything that an OpenAI caller may ask for goes out to a model that nobody
// knows: Bedrock's own validation decides.
func TestAnUnknownModelIsNeverRefused(t *testing.T) {
	one, seed, serial := 0.5, int64(7), false
	r := userSays("q")
	r.System = []chat.Block{chat.Text{Text: "s"}}
	r.Messages[0].Blocks = append(r.Messages[0].Blocks, chat.Image{Format: "png", Data: png}, chat.Document{Name: "d", Format: "docx", Data: pdf})
	r.Messages = append(r.Messages,
		chat.Message{Role: chat.Assistant, Blocks: []chat.Block{chat.ToolUse{ID: "c", Name: "f"}}},
		chat.Message{Role: chat.User, Blocks: []chat.Block{chat.ToolResult{ID: "c", Blocks: []chat.Block{chat.Image{Format: "png", Data: png}}}}})
	r.Tools = []chat.Tool{{Name: "f", Strict: true}}
	r.ToolChoice = chat.ToolChoice{Mode: chat.ToolChoiceTool, Name: "f"}
	r.Temperature, r.TopP, r.FrequencyPenalty, r.PresencePenalty, r.Seed, r.ParallelToolCalls = &one, &one, &one, &one, &seed, &serial
	r.Stop = slices.Repeat([]string{"x"}, 20)
	r.Reasoning = &chat.Reasoning{Effort: "high"}
	r.Format = &chat.Format{Schema: json.RawMessage(`{"type":"object"}`)}
	for _, id := range []string{"novel.model-v1:0", "arn:aws:bedrock:us-east-1:123456789012:imported-model/abc", "somebody"} {
		newCall(t, r, target(id))
	}
}
