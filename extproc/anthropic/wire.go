package anthropic

import (
	"encoding/json"

	"aisix/extproc/chat"
)

// Version is the anthropic_version that Bedrock wants in a body.
const Version = "bedrock-2023-05-31"

// HeaderVersion is the anthropic-version of Anthropic's own API, which goes as a header.
const HeaderVersion = "2023-06-01"

// request is a body of Anthropic's API, or InvokeModel's. That one has no model (that is
// in the path) and no stream (that is the operation).
type request struct {
	Model         string          `json:"model,omitempty"`
	Stream        bool            `json:"stream,omitempty"`
	Version       string          `json:"anthropic_version,omitempty"`
	Beta          []string        `json:"anthropic_beta,omitempty"`
	MaxTokens     *int            `json:"max_tokens,omitempty"`
	System        []block         `json:"system,omitempty"`
	Messages      []message       `json:"messages"`
	Tools         []tool          `json:"tools,omitempty"`
	ToolChoice    *toolChoice     `json:"tool_choice,omitempty"`
	Temperature   *float64        `json:"temperature,omitempty"`
	TopP          *float64        `json:"top_p,omitempty"`
	StopSequences []string        `json:"stop_sequences,omitempty"`
	Thinking      json.RawMessage `json:"thinking,omitempty"`
	OutputConfig  *outputConfig   `json:"output_config,omitempty"`
	Metadata      *metadata       `json:"metadata,omitempty"`
}

type message struct {
	Role    string  `json:"role"`
	Content []block `json:"content"`
}

// block is every kind of content block; which members stand is up to Type.
// Pointers tell an empty string, which some kinds need, from an absent one.
type block struct {
	Type         string          `json:"type"`
	Text         *string         `json:"text,omitempty"`
	Source       *source         `json:"source,omitempty"`      // image, document
	Title        string          `json:"title,omitempty"`       // document
	ID           string          `json:"id,omitempty"`          // tool_use
	Name         string          `json:"name,omitempty"`        // tool_use
	Input        json.RawMessage `json:"input,omitempty"`       // tool_use
	ToolUseID    string          `json:"tool_use_id,omitempty"` // tool_result
	Content      []block         `json:"content,omitempty"`     // tool_result
	IsError      bool            `json:"is_error,omitempty"`    // tool_result
	Thinking     *string         `json:"thinking,omitempty"`
	Signature    *string         `json:"signature,omitempty"`
	Data         *string         `json:"data,omitempty"` // redacted_thinking
	CacheControl *cacheControl   `json:"cache_control,omitempty"`
}

// encoded is data in standard base64 already.
type encoded []byte

// source is where an image or a document comes from. Data is []byte or encoded (base64),
// or a string (text).
type source struct {
	Type      string `json:"type"` // base64, text
	MediaType string `json:"media_type"`
	Data      any    `json:"data"`
}

type cacheControl struct {
	Type string `json:"type"` // ephemeral
	TTL  string `json:"ttl,omitempty"`
}

type tool struct {
	Name         string          `json:"name"`
	Description  string          `json:"description,omitempty"`
	InputSchema  json.RawMessage `json:"input_schema"`
	Strict       bool            `json:"strict,omitempty"`
	CacheControl *cacheControl   `json:"cache_control,omitempty"`
}

type toolChoice struct {
	Type            string `json:"type"` // auto, any, tool, none
	Name            string `json:"name,omitempty"`
	DisableParallel bool   `json:"disable_parallel_tool_use,omitempty"`
}

type outputConfig struct {
	Effort string        `json:"effort,omitempty"`
	Format *outputFormat `json:"format,omitempty"`
}

type outputFormat struct {
	Type   string          `json:"type"` // json_schema
	Schema json.RawMessage `json:"schema"`
}

type metadata struct {
	UserID string `json:"user_id"`
}

// reply is a whole answer, or the message of message_start. Members that nobody
// here reads are not named.
type reply struct {
	Type         string         `json:"type"`
	ID           string         `json:"id"`
	Content      []replyBlock   `json:"content"`
	StopReason   *string        `json:"stop_reason"`
	StopSequence *string        `json:"stop_sequence"`
	Usage        *usage         `json:"usage"`
	Error        *Error         `json:"error"`
	Guardrail    string         `json:"amazon-bedrock-guardrailAction"`
	Metrics      *invokeMetrics `json:"amazon-bedrock-invocationMetrics"`
}

type replyBlock struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	Thinking  string          `json:"thinking"`
	Signature string          `json:"signature"`
	Data      string          `json:"data"`
}

// UnmarshalJSON reads the members of a block that is told (startBlock); those of another one may
// be of any kind.
func (b *replyBlock) UnmarshalJSON(text []byte) error {
	type members replyBlock
	err := json.Unmarshal(text, (*members)(b))
	if err != nil {
		if kind, ok := chat.Untold(text, toldBlocks); ok {
			*b, err = replyBlock{Type: kind}, nil
		}
	}
	return err
}

var toldBlocks = []string{"text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "mcp_tool_use"}

// streamEvent is any event of a stream.
type streamEvent struct {
	Type         string         `json:"type"`
	Message      *reply         `json:"message"` // message_start
	Index        int            `json:"index"`   // content_block_*
	ContentBlock *replyBlock    `json:"content_block"`
	Delta        *delta         `json:"delta"` // content_block_delta, message_delta
	Usage        *usage         `json:"usage"` // message_delta
	Error        *Error         `json:"error"`
	Guardrail    string         `json:"amazon-bedrock-guardrailAction"`
	Metrics      *invokeMetrics `json:"amazon-bedrock-invocationMetrics"` // on the last event
}

var toldEvents = []string{"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop", "error"}

type delta struct {
	Type         string  `json:"type"` // "" in message_delta
	Text         string  `json:"text"`
	PartialJSON  string  `json:"partial_json"`
	Thinking     string  `json:"thinking"`
	Signature    string  `json:"signature"`
	StopReason   *string `json:"stop_reason"`
	StopSequence *string `json:"stop_sequence"`
}

// UnmarshalJSON reads the members of a delta that is told; those of another one may be of any kind.
func (d *delta) UnmarshalJSON(text []byte) error {
	type members delta
	err := json.Unmarshal(text, (*members)(d))
	if err != nil {
		if kind, ok := chat.Untold(text, toldDeltas); ok {
			*d, err = delta{Type: kind}, nil
		}
	}
	return err
}

var toldDeltas = []string{"", "text_delta", "input_json_delta", "thinking_delta", "signature_delta"}

// usage counts tokens. A nil count was not told.
type usage struct {
	Input         *int           `json:"input_tokens"`
	Output        *int           `json:"output_tokens"`
	CacheRead     *int           `json:"cache_read_input_tokens"`
	CacheWrite    *int           `json:"cache_creation_input_tokens"`
	CacheCreation *cacheCreation `json:"cache_creation"`
	OutputDetails *outputDetails `json:"output_tokens_details"`
	ServerTools   *serverTools   `json:"server_tool_use"`
}

// serverTools is how often tools were used that the provider ran, of whatever kind.
type serverTools int

func (n *serverTools) UnmarshalJSON(raw []byte) error {
	var kinds map[string]json.RawMessage
	if err := json.Unmarshal(raw, &kinds); err != nil {
		return err
	}
	for _, raw := range kinds {
		var count int
		if json.Unmarshal(raw, &count) == nil && count > 0 {
			*n += serverTools(count)
		}
	}
	return nil
}

type cacheCreation struct {
	OneHour *int `json:"ephemeral_1h_input_tokens"`
}

type outputDetails struct {
	Thinking *int `json:"thinking_tokens"`
}

// invokeMetrics are Bedrock's own counts, which it adds to a stream's last event.
type invokeMetrics struct {
	Input      *int `json:"inputTokenCount"`
	Output     *int `json:"outputTokenCount"`
	CacheRead  *int `json:"cacheReadInputTokenCount"`
	CacheWrite *int `json:"cacheWriteInputTokenCount"`
}
