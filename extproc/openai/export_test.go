package openai

import "aisix/extproc/chat"

// Decode is Parse and Body.Request in one.
func (c Chat) Decode(body []byte) (*chat.Request, error) {
	b, err := c.Parse(body)
	if err != nil {
		return nil, err
	}
	return b.Request(nil)
}
