package bedrock

import (
	"encoding/base64"
	"encoding/binary"

	"aisix/extproc/chat"
	"aisix/extproc/plainjson"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
)

// The events and answers that most streams and answers are made of, read in one pass.
// What is not plain, and what has members that are not known here, is the SDK's to
// read (wire.go). TestPlainEvents, TestPlainReply and two fuzz targets hold both to
// the same.

// eventOf is the name and the payload of a frame, whose checksums hold, where it is an
// event with the usual headers.
func eventOf(frame []byte) (name, payload []byte, ok bool) {
	h := frame[preludeSize : len(frame)-4]
	size := int(binary.BigEndian.Uint32(frame[4:]))
	h, payload = h[:size], h[size:]
	var event, contentType bool
	for len(h) > 0 {
		key, rest, ok := cutText(h[1:], int(h[0]))
		if !ok || len(rest) < 3 || rest[0] != 7 { // a string
			return nil, nil, false
		}
		value, rest, ok := cutText(rest[3:], int(binary.BigEndian.Uint16(rest[1:])))
		switch {
		case !ok:
			return nil, nil, false
		case string(key) == ":message-type" && !event && string(value) == "event":
			event = true
		case string(key) == ":event-type" && name == nil:
			name = value
		case string(key) == ":content-type" && !contentType:
			contentType = true
		default:
			return nil, nil, false
		}
		h = rest
	}
	return name, payload, event && len(name) > 0
}

// cutText is the first n bytes of b, and the rest.
func cutText(b []byte, n int) (text, rest []byte, ok bool) {
	if len(b) < n {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// plain decodes a frame of InvokeModelWithResponseStream.
func (s *invokeStream) plain(frame []byte) (events []chat.Event, ok bool, err error) {
	name, payload, ok := eventOf(frame)
	if !ok || string(name) != "chunk" {
		return nil, false, nil
	}
	var encoded []byte
	r := plainjson.New(payload)
	r.Object(func(name []byte) {
		switch string(name) {
		case "bytes":
			encoded = r.Bytes()
		case "p":
			r.Bytes()
		default:
			r.Fail()
		}
	})
	if !r.End() || encoded == nil {
		return nil, false, nil
	}
	if s.chunk, err = base64.StdEncoding.AppendDecode(s.chunk[:0], encoded); err != nil {
		return nil, false, nil // the SDK says what is wrong with it
	}
	events, err = s.said(s.chunk)
	if cap(s.chunk) > keptChunk {
		s.chunk = nil
	}
	return events, true, err
}

// keptChunk is what an open stream keeps to decode its next chunk in, in bytes.
const keptChunk = 1 << 10

// plain decodes a frame of ConverseStream.
func (s *converseStream) plain(frame []byte) (events []chat.Event, ok bool, err error) {
	if s.open { // what is kept of it goes first
		return nil, false, nil
	}
	name, payload, ok := eventOf(frame)
	if !ok {
		return nil, false, nil
	}
	r := plainjson.New(payload)
	events = s.events[:0]
	switch string(name) {
	case "messageStart":
		r.Object(func(name []byte) {
			switch string(name) {
			case "role", "p":
				r.Bytes()
			default:
				r.Fail()
			}
		})
		events = append(events, chat.Start{})
	case "contentBlockStart":
		events = plainStart(events, &r)
	case "contentBlockDelta":
		events = plainDelta(events, &r)
	case "contentBlockStop":
		events = append(events, chat.BlockStop{Index: plainIndex(&r, nil)})
	case "messageStop":
		var reason string
		r.Object(func(name []byte) {
			switch string(name) {
			case "stopReason":
				reason = r.Text()
			case "p":
				r.Bytes()
			default:
				r.Fail()
			}
		})
		if reason == "" {
			r.Fail()
		}
		events = append(events, chat.Stop{Reason: chat.StopReason(reason)})
	case "metadata":
		events = plainMetadata(events, &r)
	default:
		return nil, false, nil
	}
	if !r.End() {
		return nil, false, nil
	}
	s.events = events
	return events, true, nil
}

// plainIndex reads an event that has the index of a block, 0 where it has none. member
// reads the other members but for padding; nil fails.
func plainIndex(r *plainjson.Reader, member func(name []byte)) (index int) {
	r.Object(func(name []byte) {
		switch {
		case string(name) == "contentBlockIndex":
			index = r.Count()
		case string(name) == "p":
			r.Bytes()
		case member != nil:
			member(name)
		default:
			r.Fail()
		}
	})
	return index
}

// one reads a union, which has one member: a block or a delta is of one kind.
func one(r *plainjson.Reader, member func(name []byte)) {
	var members int
	r.Object(func(name []byte) {
		if members++; members > 1 {
			r.Fail()
		}
		member(name)
	})
	if members == 0 {
		r.Fail()
	}
}

func plainStart(events []chat.Event, r *plainjson.Reader) []chat.Event {
	var tool chat.ToolStart
	var is bool
	index := plainIndex(r, func(name []byte) {
		if string(name) != "start" {
			r.Fail()
			return
		}
		one(r, func(name []byte) {
			if is = string(name) == "toolUse"; !is {
				r.Fail()
				return
			}
			tool = plainTool(r, nil)
		})
	})
	if !is {
		r.Fail()
	}
	tool.Index = index
	return append(events, tool)
}

// plainTool reads what a tool use begins with. input reads its input; nil fails.
func plainTool(r *plainjson.Reader, input func()) (tool chat.ToolStart) {
	r.Object(func(name []byte) {
		switch {
		case string(name) == "toolUseId":
			tool.ID = r.Text()
		case string(name) == "name":
			tool.Name = r.Text()
		case string(name) == "type":
			tool.Server = string(r.Bytes()) == string(types.ToolUseTypeServerToolUse)
		case string(name) == "input" && input != nil:
			input()
		default:
			r.Fail()
		}
	})
	return tool
}

// delta kinds that are plain.
type deltaKind int

const (
	noDelta deltaKind = iota
	textDelta
	toolDelta
	thinkingDelta
	signatureDelta
)

func plainDelta(events []chat.Event, r *plainjson.Reader) []chat.Event {
	var kind deltaKind
	var text string
	index := plainIndex(r, func(name []byte) {
		if string(name) != "delta" {
			r.Fail()
			return
		}
		one(r, func(name []byte) {
			switch string(name) {
			case "text":
				kind, text = textDelta, r.Text()
			case "toolUse":
				r.Object(func(name []byte) {
					if string(name) != "input" {
						r.Fail()
						return
					}
					kind, text = toolDelta, r.Text()
				})
			case "reasoningContent":
				one(r, func(name []byte) {
					switch string(name) {
					case "text":
						kind, text = thinkingDelta, r.Text()
					case "signature":
						kind, text = signatureDelta, r.Text()
					default:
						r.Fail()
					}
				})
			default:
				r.Fail()
			}
		})
	})
	switch kind {
	case textDelta:
		return append(events, chat.TextDelta{Index: index, Text: text})
	case toolDelta:
		return append(events, chat.ToolDelta{Index: index, JSON: text})
	case thinkingDelta:
		return append(events, chat.ThinkingDelta{Index: index, Text: text})
	case signatureDelta:
		return append(events, chat.ThinkingDelta{Index: index, Signature: text})
	default:
		r.Fail()
		return events
	}
}

func plainMetadata(events []chat.Event, r *plainjson.Reader) []chat.Event {
	var usage *chat.Usage
	var tier *types.ServiceTier
	r.Object(func(name []byte) {
		switch string(name) {
		case "usage":
			usage = plainUsage(r)
		case "serviceTier":
			tier = plainTier(r)
		case "metrics":
			plainMetrics(r)
		case "p":
			r.Bytes()
		default:
			r.Fail()
		}
	})
	events = append(events, servedTier(tier)...)
	if usage != nil {
		events = append(events, chat.UsageSnapshot{Usage: *usage})
	}
	return events
}

func plainUsage(r *plainjson.Reader) *chat.Usage {
	u := new(chat.Usage)
	r.Object(func(name []byte) {
		switch string(name) {
		case "inputTokens":
			u.Input = plainCount(r)
		case "outputTokens":
			u.Output = plainCount(r)
		case "cacheReadInputTokens":
			u.CacheRead = plainCount(r)
		case "cacheWriteInputTokens":
			u.CacheWrite = plainCount(r)
		case "totalTokens", "cacheReadInputTokenCount", "cacheWriteInputTokenCount":
			r.Count()
		default:
			r.Fail()
		}
	})
	return u
}

func plainCount(r *plainjson.Reader) *int {
	n := r.Count()
	return &n
}

func plainTier(r *plainjson.Reader) *types.ServiceTier {
	t := new(types.ServiceTier)
	r.Object(func(name []byte) {
		if string(name) != "type" {
			r.Fail()
			return
		}
		t.Type = types.ServiceTierType(r.Text())
	})
	return t
}

func plainMetrics(r *plainjson.Reader) {
	r.Object(func(name []byte) {
		if string(name) != "latencyMs" {
			r.Fail()
		}
		r.Count()
	})
}

// plainReply decodes a whole reply of Converse. ok is false where it is not plain, nor
// whole.
func plainReply(body []byte) (events []chat.Event, ok bool) {
	var message bool
	var reason string
	var usage *chat.Usage
	var tier *types.ServiceTier
	events = make([]chat.Event, 0, 8)
	events = append(events, chat.Start{})
	r := plainjson.New(body)
	r.Object(func(name []byte) {
		switch string(name) {
		case "output":
			one(&r, func(name []byte) {
				if message = string(name) == "message"; !message {
					r.Fail()
					return
				}
				r.Object(func(name []byte) {
					switch string(name) {
					case "role":
						r.Bytes()
					case "content":
						index := 0
						r.Array(func() {
							events = plainBlock(events, index, &r)
							index++
						})
					default:
						r.Fail()
					}
				})
			})
		case "stopReason":
			reason = r.Text()
		case "usage":
			usage = plainUsage(&r)
		case "serviceTier":
			tier = plainTier(&r)
		case "metrics":
			plainMetrics(&r)
		default:
			r.Fail()
		}
	})
	if !r.End() || !message || reason == "" || usage == nil || !usage.Known() {
		return nil, false
	}
	events = append(events, servedTier(tier)...)
	return append(events, chat.Stop{Reason: chat.StopReason(reason)}, chat.UsageSnapshot{Usage: *usage}), true
}

// plainBlock reads one content block of a whole reply.
func plainBlock(events []chat.Event, i int, r *plainjson.Reader) []chat.Event {
	one(r, func(name []byte) {
		switch string(name) {
		case "text":
			events = append(events, chat.TextDelta{Index: i, Text: r.Text()})
		case "toolUse":
			input := "{}"
			tool := plainTool(r, func() {
				if !r.Null() {
					input = string(r.Raw())
				}
			})
			tool.Index = i
			events = append(events, tool, chat.ToolDelta{Index: i, JSON: input})
		case "reasoningContent":
			thought := chat.ThinkingDelta{Index: i}
			one(r, func(name []byte) {
				if string(name) != "reasoningText" {
					r.Fail()
					return
				}
				r.Object(func(name []byte) {
					switch string(name) {
					case "text":
						thought.Text = r.Text()
					case "signature":
						thought.Signature = r.Text()
					default:
						r.Fail()
					}
				})
			})
			events = append(events, thought)
		default:
			r.Fail()
		}
	})
	return append(events, chat.BlockStop{Index: i})
}
