package bedrock

import (
	"context"
	"strings"

	"aisix/extproc/anthropic"
	"aisix/extproc/chat"
	"aisix/extproc/jsonedit"
)

// sseType is the media type of the streams of bedrock-mantle, and of OpenAI's APIs on
// either host.
const sseType = "text/event-stream"

// encodeMessages is the request of Anthropic's Messages API on bedrock-mantle. (AWS user
// guide, "Inference using Anthropic Messages API")
func encodeMessages(_ context.Context, p *prepared) (wireRequest, error) {
	if err := p.unguarded(); err != nil {
		return wireRequest{}, err
	}
	p.unplaced()
	body, err := anthropicBody(p)
	if err != nil {
		return wireRequest{}, err
	}
	return wireRequest{header: messagesHeader(p.knobs.beta), body: body}, nil
}

// adoptMessages is InvokeModel's body of what was asked, as Anthropic's own API has it.
func (p *prepared) adoptMessages(c *Call, v *chat.Verbatim) error {
	if err := p.unguarded(); err != nil {
		return err
	}
	p.unplaced()
	t := jsonedit.Text(p.adopted(v))
	var beta []string
	var e jsonedit.Edits
	first := append([]byte(`"model":`), marshal(p.model.ID)...)
	if v.Stream {
		first = append(first, `,"stream":true`...)
	}
	e.Object(t, t.Root(), first, func(m jsonedit.Member) bool {
		switch m.Name {
		case "anthropic_beta":
			for item := range t.Items(m.Value) {
				if flag := t.String(item); fitsHeader(flag) {
					beta = append(beta, flag)
				} else {
					p.note("a flag of anthropic_beta was left out: it can't stand in a header")
				}
			}
			return false
		case "anthropic_version":
			return false
		}
		return true
	})
	c.header, c.body = messagesHeader(beta), e.Apply(t)
	return nil
}

// fitsHeader reports whether a flag can be a part of a header's list: it came in a body, where it
// may be anything.
func fitsHeader(flag string) bool {
	for i := range len(flag) {
		if flag[i] <= ' ' || flag[i] > '~' || flag[i] == ',' {
			return false
		}
	}
	return 0 < len(flag) && len(flag) <= 256
}

// messagesHeader is in the order of names.
func messagesHeader(beta []string) []Field {
	header := make([]Field, 0, 3)
	if len(beta) > 0 {
		header = append(header, Field{Key: "anthropic-beta", Value: strings.Join(beta, ",")})
	}
	return append(header, Field{Key: "anthropic-version", Value: anthropic.HeaderVersion}, Field{Key: "content-type", Value: contentType})
}

// messagesStream decodes the events of one stream of Messages.
type messagesStream struct{ invokeStream }

func (s *messagesStream) plain(event []byte) ([]chat.Event, bool, error) {
	events, err := s.said(event)
	return events, true, err
}
