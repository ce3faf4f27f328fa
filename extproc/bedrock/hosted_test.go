package bedrock

import (
	"strings"
	"testing"

	"aisix/admin/resource"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// Tools that a service runs itself go out of what passes, from every place, and are refused where
// they are forced; where the model resource allows them nothing of it changes.
func TestHostedTools(t *testing.T) {
	const (
		f      = `{"type":"function","name":"f","parameters":{}}`
		c      = `{"type":"custom","name":"c"}`
		web    = `{"type":"web_search","external_web_access":true}`
		lambda = `{"type":"mcp","server_label":"l","connector_id":"arn:aws:lambda:us-east-1:123456789012:function:x","require_approval":"never"}`
		novel  = `{"type":"from_next_year"}`
	)
	for _, test := range []struct{ name, more, want, refused string }{
		{"none", `"tools":[` + f + `],"tool_choice":"auto"`, `"tools":[` + f + `],"tool_choice":"auto"`, ""},
		{"offered", `"tools":[` + web + `, ` + f + `,` + lambda + `,` + c + `,` + novel + `]`, `"tools":[` + f + `,` + c + `]`, ""},
		{"nothing else", `"tools":[` + web + `],"tool_choice":"auto","top_p":1`, `"top_p":1`, ""},
		{"among the items", `"tools":[],"input":[{"type":"additional_tools","role":"developer","tools":[` + lambda + `,` + f + `]},{"role":"user","content":"x"}]`,
			`"tools":[],"input":[{"type":"additional_tools","role":"developer","tools":[` + f + `]},{"role":"user","content":"x"}]`, ""},
		{"forced", `"tools":[` + lambda + `,` + f + `],"tool_choice":{"type":"mcp","server_label":"l"}`, "", "mcp"},
		{"forced among others", `"tools":[` + web + `,` + f + `],"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"f"},{"type":"web_search"}]}`, "", "web_search"},
		{"allowed among others", `"tools":[` + f + `,` + web + `],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"web_search"},{"type":"function","name":"f"}]}`,
			`"tools":[` + f + `],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"function","name":"f"}]}`, ""},
		{"allowed alone", `"tools":[` + f + `,` + web + `],"tool_choice":{"type":"allowed_tools","mode":"auto","tools":[{"type":"web_search"}]}`, `"tools":[` + f + `],"tool_choice":"none"`, ""},
		{"tools that wait for a search", `"tools":[{"type":"tool_search"},{"type":"function","name":"f","defer_loading":true,"strict":true},{"type":"namespace","name":"n","tools":[{"defer_loading":true,"type":"function","name":"g"}]}],` +
			`"input":[{"type":"additional_tools","tools":[{"type":"function","name":"h","defer_loading":true}]}]`,
			`"tools":[{"type":"function","name":"f","strict":true},{"type":"namespace","name":"n","tools":[{"type":"function","name":"g"}]}],"input":[{"type":"additional_tools","tools":[{"type":"function","name":"h"}]}]`, ""},
		{"tools that wait for another", `"tools":[{"type":"function","name":"f","defer_loading":true},` + web + `]`, `"tools":[{"type":"function","name":"f","defer_loading":true}]`, ""},
		{"a function forced", `"tools":[` + f + `,` + web + `],"tool_choice":{"type":"function","name":"f"}`, `"tools":[` + f + `],"tool_choice":{"type":"function","name":"f"}`, ""},
	} {
		for _, allowed := range []bool{false, true} {
			model := &resource.Model{API: "responses", Host: "mantle"}
			model.AllowHostedTools = allowed
			m, err := Compile(model, "openai.gpt-oss-120b", &resource.ProviderKey{Credentials: creds})
			if err != nil {
				t.Fatal(err)
			}
			call, err := Adopt(&chat.Verbatim{API: chat.Responses, Body: []byte(`{"model":"x",` + test.more + `}`)}, m)
			if test.refused != "" && !allowed {
				if f := fault.From(err); err == nil || f.Status != 400 || f.Param != "tool_choice" || !strings.Contains(f.Message, test.refused) {
					t.Errorf("%s: %v, want a 400 that names %s", test.name, err, test.refused)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			want := test.want
			if allowed {
				want = test.more
			}
			if want = `{"model":"openai.gpt-oss-120b","store":false,` + want + `}`; string(call.body) != want {
				t.Errorf("%s, allowed %t:\n%s, want\n%s", test.name, allowed, call.body, want)
			}
			if notes := len(call.Notes()); notes > 0 != (!allowed && test.name != "none") {
				t.Errorf("%s, allowed %t: notes %q", test.name, allowed, call.Notes())
			}
		}
	}
}
