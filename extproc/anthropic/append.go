package anthropic

import (
	"encoding/json"
	"strconv"

	js "aisix/extproc/jsonappend"
)

// The request's JSON, as encoding/json would write it by the tags of the structs:
// appended to one buffer, for reflection and its copies cost more than all else in
// encoding. TestAppend holds the two together.

func (r *request) append(dst []byte) []byte {
	dst = append(dst, '{')
	dst = optionalMember(dst, "model", r.Model)
	dst = flagMember(dst, "stream", r.Stream)
	dst = optionalMember(dst, "anthropic_version", r.Version)
	if len(r.Beta) > 0 {
		dst = textList(js.Name(dst, "anthropic_beta"), r.Beta)
	}
	if r.MaxTokens != nil {
		dst = strconv.AppendInt(js.Name(dst, "max_tokens"), int64(*r.MaxTokens), 10)
	}
	if len(r.System) > 0 {
		dst = appendBlocks(js.Name(dst, "system"), r.System)
	}
	dst = js.Name(dst, "messages")
	if r.Messages == nil {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, '[')
		for i := range r.Messages {
			m := &r.Messages[i]
			dst = append(js.Comma(dst), '{')
			dst = textMember(dst, "role", m.Role)
			dst = append(appendBlocks(js.Name(dst, "content"), m.Content), '}')
		}
		dst = append(dst, ']')
	}
	if len(r.Tools) > 0 {
		dst = append(js.Name(dst, "tools"), '[')
		for i := range r.Tools {
			dst = r.Tools[i].append(js.Comma(dst))
		}
		dst = append(dst, ']')
	}
	if c := r.ToolChoice; c != nil {
		dst = append(js.Name(dst, "tool_choice"), '{')
		dst = textMember(dst, "type", c.Type)
		dst = optionalMember(dst, "name", c.Name)
		dst = append(flagMember(dst, "disable_parallel_tool_use", c.DisableParallel), '}')
	}
	if r.Temperature != nil {
		dst = js.Float(js.Name(dst, "temperature"), *r.Temperature, 64)
	}
	if r.TopP != nil {
		dst = js.Float(js.Name(dst, "top_p"), *r.TopP, 64)
	}
	if len(r.StopSequences) > 0 {
		dst = textList(js.Name(dst, "stop_sequences"), r.StopSequences)
	}
	if len(r.Thinking) > 0 {
		dst = js.Raw(js.Name(dst, "thinking"), r.Thinking)
	}
	if o := r.OutputConfig; o != nil {
		dst = append(js.Name(dst, "output_config"), '{')
		dst = optionalMember(dst, "effort", o.Effort)
		if f := o.Format; f != nil {
			dst = append(js.Name(dst, "format"), '{')
			dst = textMember(dst, "type", f.Type)
			dst = append(rawMember(dst, "schema", f.Schema), '}')
		}
		dst = append(dst, '}')
	}
	if r.Metadata != nil {
		dst = append(js.Name(dst, "metadata"), '{')
		dst = append(textMember(dst, "user_id", r.Metadata.UserID), '}')
	}
	return append(dst, '}')
}

func appendBlocks(dst []byte, blocks []block) []byte {
	if blocks == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	for i := range blocks {
		dst = blocks[i].append(js.Comma(dst))
	}
	return append(dst, ']')
}

func (b *block) append(dst []byte) []byte {
	dst = append(dst, '{')
	dst = textMember(dst, "type", b.Type)
	dst = pointerMember(dst, "text", b.Text)
	if s := b.Source; s != nil {
		dst = append(js.Name(dst, "source"), '{')
		dst = textMember(dst, "type", s.Type)
		dst = textMember(dst, "media_type", s.MediaType)
		dst = js.Name(dst, "data")
		switch data := s.Data.(type) {
		case []byte:
			dst = js.Base64(dst, data)
		case encoded:
			dst = append(append(append(dst, '"'), data...), '"')
		case string:
			dst = js.String(dst, data)
		}
		dst = append(dst, '}')
	}
	dst = optionalMember(dst, "title", b.Title)
	dst = optionalMember(dst, "id", b.ID)
	dst = optionalMember(dst, "name", b.Name)
	if len(b.Input) > 0 {
		dst = js.Raw(js.Name(dst, "input"), b.Input)
	}
	dst = optionalMember(dst, "tool_use_id", b.ToolUseID)
	if len(b.Content) > 0 {
		dst = appendBlocks(js.Name(dst, "content"), b.Content)
	}
	dst = flagMember(dst, "is_error", b.IsError)
	dst = pointerMember(dst, "thinking", b.Thinking)
	dst = pointerMember(dst, "signature", b.Signature)
	dst = pointerMember(dst, "data", b.Data)
	return append(b.CacheControl.append(dst), '}')
}

func (t *tool) append(dst []byte) []byte {
	dst = append(dst, '{')
	dst = textMember(dst, "name", t.Name)
	dst = optionalMember(dst, "description", t.Description)
	dst = rawMember(dst, "input_schema", t.InputSchema)
	dst = flagMember(dst, "strict", t.Strict)
	return append(t.CacheControl.append(dst), '}')
}

// append appends the member, where there is one.
func (c *cacheControl) append(dst []byte) []byte {
	if c == nil {
		return dst
	}
	dst = append(js.Name(dst, "cache_control"), '{')
	dst = textMember(dst, "type", c.Type)
	return append(optionalMember(dst, "ttl", c.TTL), '}')
}

func textMember(dst []byte, name, s string) []byte { return js.String(js.Name(dst, name), s) }

// optionalMember is a text that is left out where it is empty.
func optionalMember(dst []byte, name, s string) []byte {
	if s == "" {
		return dst
	}
	return textMember(dst, name, s)
}

func pointerMember(dst []byte, name string, s *string) []byte {
	if s == nil {
		return dst
	}
	return textMember(dst, name, *s)
}

// flagMember is left out where it is false.
func flagMember(dst []byte, name string, set bool) []byte {
	if !set {
		return dst
	}
	return append(js.Name(dst, name), "true"...)
}

func rawMember(dst []byte, name string, value json.RawMessage) []byte {
	if value == nil {
		value = json.RawMessage("null")
	}
	return js.Raw(js.Name(dst, name), value)
}

func textList(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for _, s := range list {
		dst = js.String(js.Comma(dst), s)
	}
	return append(dst, ']')
}
