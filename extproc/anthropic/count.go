package anthropic

import (
	"strconv"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// Count is the dialect of POST /v1/messages/count_tokens: a body of Messages, of which
// nothing but messages and model need be there.
type Count struct{ API }

// Name is the dialect's in usage records.
func (Count) Name() string { return Messages{}.Name() }

// Parse is that of Messages.
func (Count) Parse(h chat.Header, text []byte) (chat.Asked, error) {
	a, err := parse(h, text)
	if err != nil {
		return nil, err
	}
	if a.err == nil && !a.says {
		a.err = fault.Invalid("messages", "messages is required")
	}
	return a, nil
}

// Count is the answer.
func (Count) Count(tokens int64) []byte {
	return append(strconv.AppendInt([]byte(`{"input_tokens":`), tokens, 10), '}')
}
