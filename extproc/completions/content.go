package completions

import "encoding/json"

// content is a string, or parts as Mistral's reasoning models have them: what they thought stands
// among them. Parts of other kinds are not told.
type content []saying

type saying struct {
	kind string // a block's: "text", "reasoning"
	text string
}

func (c *content) UnmarshalJSON(text []byte) error {
	if text[0] != '[' {
		var said string
		err := json.Unmarshal(text, &said)
		*c = content{{"text", said}}
		return err
	}
	*c = nil
	var parts []contentPart
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	for _, p := range parts {
		if err := c.add(p); err != nil {
			return err
		}
	}
	return nil
}

// contentPart is a part; which member is read is up to Type.
type contentPart struct {
	Type     string          `json:"type"` // text, refusal, thinking
	Text     json.RawMessage `json:"text"`
	Refusal  json.RawMessage `json:"refusal"`
	Thinking json.RawMessage `json:"thinking"` // a string, or text parts
}

func (c *content) add(p contentPart) error {
	said, kind, raw := "", "text", p.Text
	switch p.Type {
	case "text":
	case "refusal":
		raw = p.Refusal
	case "thinking":
		kind, raw = "reasoning", p.Thinking
		if len(raw) > 0 && raw[0] == '[' {
			var thoughts []struct {
				Text string `json:"text"`
			}
			if err := json.Unmarshal(raw, &thoughts); err != nil {
				return err
			}
			for _, t := range thoughts {
				*c = append(*c, saying{kind, t.Text})
			}
			return nil
		}
	default:
		return nil
	}
	if len(raw) == 0 {
		return nil
	}
	err := json.Unmarshal(raw, &said)
	*c = append(*c, saying{kind, said})
	return err
}
