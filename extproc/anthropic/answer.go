package anthropic

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"aisix/extproc/chat"
	js "aisix/extproc/jsonappend"
)

// messageID is the upstream's where it is one of Anthropic's. No two answers may have the
// same: clients join what has one id.
func messageID(h chat.Heading, upstream string) string {
	if strings.HasPrefix(upstream, "msg_") {
		return upstream
	}
	return "msg_" + h.ID
}

// legalID is what Anthropic takes as the id of a tool use. Another one gets an alias, always
// the same: the call and its result come back with it.
var legalID = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

func callID(id string) string {
	if legalID.MatchString(id) {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "toolu_" + hex.EncodeToString(sum[:12])
}

// stopReasons are chat's in Anthropic's words; a guardrail is told as a refusal.
var stopReasons = map[chat.StopReason]string{
	chat.EndTurn:         "end_turn",
	chat.StopSequence:    "stop_sequence",
	chat.MaxTokens:       "max_tokens",
	chat.ContextExceeded: "model_context_window_exceeded",
	chat.ToolUseStop:     "tool_use",
	chat.ContentFiltered: "refusal",
	chat.Guardrail:       "refusal",
	chat.Refusal:         "refusal",
	chat.PauseTurn:       "pause_turn",
}

// appendStop appends stop_reason and stop_sequence.
func appendStop(dst []byte, reason chat.StopReason, sequence string) []byte {
	word, ok := stopReasons[reason]
	if !ok {
		word = "end_turn"
	}
	dst = js.String(append(dst, `"stop_reason":`...), word)
	dst = append(dst, `,"stop_sequence":`...)
	if reason != chat.StopSequence || sequence == "" {
		return append(dst, "null"...)
	}
	return js.String(dst, sequence)
}

// tiers are Bedrock's service tiers in Anthropic's words, where it has them.
var tiers = map[string]string{"default": "standard", "priority": "priority"}

// appendUsage appends the counts: what the upstream did not tell is absent, not 0, but for the
// two that must be there.
func appendUsage(dst []byte, u chat.Usage, tier string) []byte {
	dst = append(dst, `{"input_tokens":`...)
	dst = strconv.AppendInt(dst, int64(number(u.Input)), 10)
	add := func(name string, n *int) {
		if n != nil {
			dst = strconv.AppendInt(append(dst, name...), int64(*n), 10)
		}
	}
	add(`,"cache_creation_input_tokens":`, u.CacheWrite)
	add(`,"cache_read_input_tokens":`, u.CacheRead)
	if u.CacheWrite != nil && u.CacheWrite1h != nil {
		short := max(*u.CacheWrite-*u.CacheWrite1h, 0)
		add(`,"cache_creation":{"ephemeral_5m_input_tokens":`, &short)
		add(`,"ephemeral_1h_input_tokens":`, u.CacheWrite1h)
		dst = append(dst, '}')
	}
	dst = strconv.AppendInt(append(dst, `,"output_tokens":`...), int64(number(u.Output)), 10)
	if u.Reasoning != nil {
		add(`,"output_tokens_details":{"thinking_tokens":`, u.Reasoning)
		dst = append(dst, '}')
	}
	if word := tiers[tier]; word != "" {
		dst = js.String(append(dst, `,"service_tier":`...), word)
	}
	return append(dst, '}')
}

func number(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// Whole writes a message: the upstream's own words where it speaks this format.
func (a *asked) Whole(h chat.Heading, r *chat.Response) ([]byte, error) {
	if r.Raw != nil {
		return renamed(r.Raw, js.String(nil, a.model)), nil
	}
	size := 512
	for _, b := range r.Blocks {
		switch b := b.(type) {
		case chat.Text:
			size += len(b.Text) + len(b.Text)/16 + 32
		case chat.ToolUse:
			size += len(b.Input) + 128
		case chat.Thinking:
			size += len(b.Text) + 2*len(b.Signature) + 64
		}
	}
	dst := a.head(make([]byte, 0, size), h, r.ID)
	dst = append(dst, `,"content":[`...)
	for _, b := range r.Blocks {
		dst = appendAnswerBlock(dst, b)
	}
	dst = appendStop(append(dst, `],`...), r.Stop, r.Sequence)
	dst = appendUsage(append(dst, `,"usage":`...), r.Usage, r.Tier)
	return append(dst, '}'), nil
}

// head appends a message up to its model.
func (a *asked) head(dst []byte, h chat.Heading, id string) []byte {
	dst = js.String(append(dst, `{"id":`...), messageID(h, id))
	dst = append(dst, `,"type":"message","role":"assistant","model":`...)
	return js.String(dst, a.model)
}

// appendAnswerBlock appends a block of the model's, none for a text that says nothing: it
// could not be sent back.
func appendAnswerBlock(dst []byte, b chat.Block) []byte {
	switch b := b.(type) {
	case chat.Text:
		if b.Text == "" {
			return dst
		}
		dst = append(js.Comma(dst), `{"type":"text","text":`...)
		dst = js.String(dst, b.Text)
	case chat.Thinking:
		dst = append(js.Comma(dst), `{"type":"thinking","thinking":`...)
		dst = js.String(dst, b.Text)
		dst = js.String(append(dst, `,"signature":`...), sealed(b.Publisher, b.Signature))
	case chat.Redacted:
		dst = append(js.Comma(dst), `{"type":"redacted_thinking","data":`...)
		dst = js.String(dst, sealed(b.Publisher, b.Data))
	case chat.ToolUse:
		dst = append(js.Comma(dst), `{"type":"tool_use","id":`...)
		dst = js.String(dst, callID(b.ID))
		dst = js.String(append(dst, `,"name":`...), b.Name)
		dst = js.Raw(append(dst, `,"input":`...), inputObject(b.Input))
	default:
		return dst
	}
	return append(dst, '}')
}

// inputObject is a tool's input as an object: what is none, or was cut, is kept as text in one, as
// it would go back to the model.
func inputObject(input json.RawMessage) json.RawMessage {
	if text := strings.TrimSpace(string(input)); text == "" {
		return json.RawMessage("{}")
	} else if text[0] == '{' && json.Valid(input) {
		return input
	}
	out := js.String([]byte(`{"arguments":`), string(input))
	return append(out, '}')
}
