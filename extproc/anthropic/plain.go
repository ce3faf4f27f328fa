package anthropic

import (
	"aisix/extproc/chat"
	"aisix/extproc/plainjson"
)

// Claude's answers as they come as a rule, read in one pass. What is not plain, and what
// has members that are not known here, is encoding/json's to read. TestPlain and two fuzz
// targets hold both to the same events.

// plainEvent is one event of a stream. ok is false where it is not read.
func (d *EventDecoder) plainEvent(dst []chat.Event, payload []byte) (events []chat.Event, ok bool) {
	var e streamEvent
	var x delta
	var block replyBlock
	var message reply
	var hasDelta, hasBlock, hasMessage bool
	r := plainjson.New(payload)
	r.Object(func(name []byte) {
		switch string(name) {
		case "type":
			e.Type = kindOf(r.Bytes())
		case "index":
			e.Index = r.Count()
		case "delta":
			hasDelta = true
			plainDelta(&r, &x)
		case "content_block":
			hasBlock = true
			plainBlock(&r, &block)
		case "message":
			hasMessage = true
			plainReply(&r, &message)
		case "usage":
			e.Usage = plainUsage(&r)
		case "amazon-bedrock-invocationMetrics":
			e.Metrics = plainMetrics(&r)
		default: // encoding/json takes names in any case for its own
			r.Fail()
		}
	})
	if !r.End() || e.Type == "" {
		return nil, false
	}
	if e.Type == "content_block_delta" {
		if !hasDelta {
			return dst, true
		}
		return d.blockDelta(dst, e.Index, &x), true
	}
	if hasDelta {
		x := x // only what is rare is kept
		e.Delta = &x
	}
	if hasBlock {
		block := block
		e.ContentBlock = &block
	}
	if hasMessage {
		message := message
		e.Message = &message
	}
	events, err := d.event(dst, e)
	return events, err == nil // an error is not plain
}

// kindOf is an event's type without a copy; "" is one that is not known.
func kindOf(name []byte) string {
	switch string(name) {
	case "message_start":
		return "message_start"
	case "content_block_start":
		return "content_block_start"
	case "content_block_delta":
		return "content_block_delta"
	case "content_block_stop":
		return "content_block_stop"
	case "message_delta":
		return "message_delta"
	case "message_stop":
		return "message_stop"
	case "ping":
		return "ping"
	}
	return ""
}

// deltaOf is a delta's type without a copy; "" is one that is not known.
func deltaOf(name []byte) string {
	switch string(name) {
	case "text_delta":
		return "text_delta"
	case "input_json_delta":
		return "input_json_delta"
	case "thinking_delta":
		return "thinking_delta"
	case "signature_delta":
		return "signature_delta"
	}
	return ""
}

func plainDelta(r *plainjson.Reader, x *delta) {
	r.Object(func(name []byte) {
		switch string(name) {
		case "type":
			if x.Type = deltaOf(r.Bytes()); x.Type == "" {
				r.Fail()
			}
		case "text":
			x.Text = r.Text()
		case "partial_json":
			x.PartialJSON = r.Text()
		case "thinking":
			x.Thinking = r.Text()
		case "signature":
			x.Signature = r.Text()
		case "stop_reason":
			x.StopReason = plainPointer(r)
		case "stop_sequence":
			x.StopSequence = plainPointer(r)
		default:
			r.Fail()
		}
	})
}

func plainPointer(r *plainjson.Reader) *string {
	if r.Null() {
		return nil
	}
	s := r.Text()
	return &s
}

func plainBlock(r *plainjson.Reader, b *replyBlock) {
	r.Object(func(name []byte) {
		switch string(name) {
		case "type":
			b.Type = r.Text()
		case "text":
			b.Text = r.Text()
		case "id":
			b.ID = r.Text()
		case "name":
			b.Name = r.Text()
		case "input":
			b.Input = r.Raw() // of the payload's bytes, which inputOf copies
		case "thinking":
			b.Thinking = r.Text()
		case "signature":
			b.Signature = r.Text()
		case "data":
			b.Data = r.Text()
		default:
			r.Fail()
		}
	})
}

// plainReply reads a whole answer, or the message of message_start.
func plainReply(r *plainjson.Reader, m *reply) {
	r.Object(func(name []byte) {
		switch string(name) {
		case "type":
			m.Type = r.Text()
		case "id":
			m.ID = r.Text()
		case "content":
			r.Array(func() {
				m.Content = append(m.Content, replyBlock{})
				plainBlock(r, &m.Content[len(m.Content)-1])
			})
		case "stop_reason":
			m.StopReason = plainPointer(r)
		case "stop_sequence":
			m.StopSequence = plainPointer(r)
		case "usage":
			m.Usage = plainUsage(r)
		case "amazon-bedrock-invocationMetrics":
			m.Metrics = plainMetrics(r)
		case "model", "role", "stop_details", "container", "context_management":
			r.Skip()
		default:
			r.Fail()
		}
	})
}

func plainUsage(r *plainjson.Reader) *usage {
	u := new(usage)
	r.Object(func(name []byte) {
		switch string(name) {
		case "input_tokens":
			u.Input = plainCount(r)
		case "output_tokens":
			u.Output = plainCount(r)
		case "cache_read_input_tokens":
			u.CacheRead = plainCount(r)
		case "cache_creation_input_tokens":
			u.CacheWrite = plainCount(r)
		case "cache_creation":
			creation := new(cacheCreation)
			r.Object(func(name []byte) {
				switch string(name) {
				case "ephemeral_1h_input_tokens":
					creation.OneHour = plainCount(r)
				case "ephemeral_5m_input_tokens":
					r.Skip()
				default:
					r.Fail()
				}
			})
			u.CacheCreation = creation
		case "output_tokens_details":
			details := new(outputDetails)
			r.Object(func(name []byte) {
				switch string(name) {
				case "thinking_tokens":
					details.Thinking = plainCount(r)
				default:
					r.Fail()
				}
			})
			u.OutputDetails = details
		case "server_tool_use":
			if r.Null() {
				return
			}
			used := new(serverTools)
			r.Object(func([]byte) { *used += serverTools(r.Count()) })
			u.ServerTools = used
		case "service_tier", "inference_geo":
			r.Skip()
		default:
			r.Fail()
		}
	})
	return u
}

func plainMetrics(r *plainjson.Reader) *invokeMetrics {
	m := new(invokeMetrics)
	r.Object(func(name []byte) {
		switch string(name) {
		case "inputTokenCount":
			m.Input = plainCount(r)
		case "outputTokenCount":
			m.Output = plainCount(r)
		case "cacheReadInputTokenCount":
			m.CacheRead = plainCount(r)
		case "cacheWriteInputTokenCount":
			m.CacheWrite = plainCount(r)
		case "invocationLatency", "firstByteLatency":
			r.Skip()
		default:
			r.Fail()
		}
	})
	return m
}

func plainCount(r *plainjson.Reader) *int {
	if r.Null() {
		return nil
	}
	n := r.Count()
	return &n
}
