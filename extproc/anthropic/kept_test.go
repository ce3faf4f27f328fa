package anthropic

import (
	"slices"
	"testing"
)

// A turn that was another family's reasoning and nothing else goes, and the user's turns around it
// become one.
func TestWithoutForeignKeepsRolesAlternating(t *testing.T) {
	const (
		u       = `{"role":"user","content":"u"}`
		a       = `{"role":"assistant","content":[{"type":"text","text":"a"}]}`
		foreign = `{"type":"thinking","thinking":"t","signature":"aisix1.openai.cw"}`
		own     = `{"type":"thinking","thinking":"t","signature":"c2ln"}`
		thought = `{"role":"assistant","content":[` + foreign + `]}`
	)
	for said, want := range map[string]string{
		u + `,` + a + `,` + u:       "",
		u + `,` + thought + `,` + u: `{"role":"user","content":[{"type":"text","text":"u"},{"type":"text","text":"u"}]}`,
		u + `,` + thought:           u,
		u + `,` + thought + `,` + thought + `,` + u + `,` + a + `,` + u:                                                               `{"role":"user","content":[{"type":"text","text":"u"},{"type":"text","text":"u"}]},` + a + `,` + u,
		u + `,{"role":"assistant","content":[` + own + `,` + foreign + `,{"type":"text","text":"a"}]},` + u + `,` + thought + `,` + u: u + `,{"role":"assistant","content":[` + own + `,{"type":"text","text":"a"}]},{"role":"user","content":[{"type":"text","text":"u"},{"type":"text","text":"u"}]}`,
		u + `,{"role":"assistant","content":[` + foreign + `,{"type":"text","text":"a"}],"z":1},` + u:                                 u + `,{"role":"assistant","content":[{"type":"text","text":"a"}],"z":1},` + u,
	} {
		body := `{"messages":[` + said + `],"new":1}`
		wants, notes := `{"messages":[`+want+`],"new":1}`, []string{foreignLeft}
		if want == "" {
			wants, notes = body, nil
		}
		got, told := withoutForeign([]byte(body))
		if string(got) != wants || !slices.Equal(told, notes) {
			t.Errorf("%s\n got %s\nwant %s\nnotes %q", said, got, wants, told)
		}
	}
}
