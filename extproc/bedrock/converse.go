package bedrock

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"

	"aisix/admin/resource"
	"aisix/extproc/chat"
	"aisix/extproc/fault"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
)

// encodeConverse is the request of Converse or ConverseStream.
func encodeConverse(ctx context.Context, p *prepared) (wireRequest, error) {
	whole, stream, err := converseInputs(ctx, p)
	switch {
	case err != nil:
		return wireRequest{}, err
	case stream != nil:
		return serialize(stream, p.req), nil
	}
	return serialize(whole, p.req), nil
}

// converseInputs is the input of the one operation or the other.
func converseInputs(ctx context.Context, p *prepared) (*bedrockruntime.ConverseInput, *bedrockruntime.ConverseStreamInput, error) {
	in, err := converseInput(ctx, p)
	if err != nil || !p.req.Stream {
		return in, nil, err
	}
	stream := &bedrockruntime.ConverseStreamInput{
		Messages: in.Messages, System: in.System, InferenceConfig: in.InferenceConfig, ToolConfig: in.ToolConfig,
		AdditionalModelRequestFields: in.AdditionalModelRequestFields, RequestMetadata: in.RequestMetadata,
		PerformanceConfig: in.PerformanceConfig, ServiceTier: in.ServiceTier, OutputConfig: in.OutputConfig,
	}
	if g := p.knobs.guardrail; g != nil {
		stream.GuardrailConfig = &types.GuardrailStreamConfiguration{
			GuardrailIdentifier: &g.Identifier, GuardrailVersion: &g.Version,
			Trace: types.GuardrailTrace(g.Trace), StreamProcessingMode: types.GuardrailStreamProcessingMode(g.StreamMode),
		}
	}
	return nil, stream, nil
}

func converseInput(ctx context.Context, p *prepared) (*bedrockruntime.ConverseInput, error) {
	in := &bedrockruntime.ConverseInput{
		InferenceConfig: inference(p),
		OutputConfig:    outputConfig(p),
		RequestMetadata: labels(p),
	}
	additional := p.additional
	if len(p.knobs.beta) > 0 {
		place(additional, []string{"anthropic_beta"}, marshal(p.knobs.beta))
	}
	if len(additional) > 0 {
		in.AdditionalModelRequestFields = newDocument(object(additional))
	}
	if g := p.knobs.guardrail; g != nil {
		in.GuardrailConfig = &types.GuardrailConfiguration{GuardrailIdentifier: &g.Identifier, GuardrailVersion: &g.Version, Trace: types.GuardrailTrace(g.Trace)}
	}
	if x := p.knobs.performance; x != nil {
		in.PerformanceConfig = &types.PerformanceConfiguration{Latency: types.PerformanceConfigLatency(x.Latency)}
	}
	if x := p.knobs.tier; x != nil {
		in.ServiceTier = &types.ServiceTier{Type: types.ServiceTierType(x.Type)}
	}
	for _, b := range p.req.System {
		switch b := b.(type) {
		case chat.Text:
			in.System = append(in.System, &types.SystemContentBlockMemberText{Value: b.Text})
		case chat.CachePoint:
			in.System = append(in.System, &types.SystemContentBlockMemberCachePoint{Value: cachePoint(b)})
		default:
			return nil, fault.Invalid("messages", "system messages must hold text only")
		}
	}
	docs := documentNames{}
	in.Messages = slices.Grow(in.Messages, len(p.req.Messages))
	for _, m := range p.req.Messages {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		message := types.Message{Role: types.ConversationRole(m.Role), Content: slices.Grow([]types.ContentBlock(nil), len(m.Blocks))}
		for _, b := range m.Blocks {
			block, err := contentBlock(b, m.Param, docs)
			if err != nil {
				return nil, err
			}
			message.Content = append(message.Content, block)
		}
		if name := onlyDocuments(message.Content); name != "" {
			message.Content = append(message.Content, &types.ContentBlockMemberText{Value: name})
		}
		in.Messages = append(in.Messages, message)
	}
	in.ToolConfig = toolConfig(p.req)
	return in, nil
}

func inference(p *prepared) *types.InferenceConfiguration {
	r := p.req
	if p.additional["max_tokens"] != nil { // written by hand: it goes out there
		p.maxTokens = nil
	}
	if p.maxTokens == nil && r.Temperature == nil && r.TopP == nil && len(r.Stop) == 0 {
		return nil
	}
	c := &types.InferenceConfiguration{StopSequences: r.Stop, Temperature: float(r.Temperature), TopP: float(r.TopP)}
	if p.maxTokens != nil {
		n := int32(min(*p.maxTokens, math.MaxInt32))
		c.MaxTokens = &n
	}
	return c
}

func float(f *float64) *float32 {
	if f == nil {
		return nil
	}
	x := float32(*f)
	return &x
}

func outputConfig(p *prepared) *types.OutputConfig {
	if p.format == nil && p.effort == "" {
		return nil
	}
	c := &types.OutputConfig{}
	if p.effort != "" {
		c.Effort = &p.effort
	}
	if f := p.format; f != nil {
		schema := string(f.Schema) // natively the schema travels as a JSON string
		d := types.JsonSchemaDefinition{Schema: &schema}
		if f.Name != "" {
			d.Name = &f.Name
		}
		if f.Description != "" {
			d.Description = &f.Description
		}
		c.TextFormat = &types.OutputFormat{Type: types.OutputFormatTypeJsonSchema, Structure: &types.OutputFormatStructureMemberJsonSchema{Value: d}}
	}
	return c
}

// labels are requestMetadata: the operator's and the request's own, then as many
// of OpenAI's metadata as Bedrock takes; that is a hint and refuses nothing.
func labels(p *prepared) map[string]string {
	if len(p.knobs.metadata) == 0 && len(p.req.Metadata) == 0 {
		return nil
	}
	out := map[string]string{}
	for k, v := range p.knobs.metadata {
		out[k] = v
	}
	for _, k := range sortedKeys(p.req.Metadata) {
		v := p.req.Metadata[k]
		if _, set := out[k]; !set && len(out) < resource.MaxMetadata && resource.MetadataFits(k, v) {
			out[k] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func cachePoint(b chat.CachePoint) types.CachePointBlock {
	return types.CachePointBlock{Type: types.CachePointTypeDefault, Ttl: types.CacheTTL(b.TTL)}
}

func contentBlock(b chat.Block, param string, docs documentNames) (types.ContentBlock, error) {
	switch b := b.(type) {
	case chat.Text:
		return &types.ContentBlockMemberText{Value: b.Text}, nil
	case chat.Image:
		return &types.ContentBlockMemberImage{Value: image(b)}, nil
	case chat.Document:
		return &types.ContentBlockMemberDocument{Value: docs.block(b)}, nil
	case chat.ToolUse:
		input := b.Input
		if isNull(input) {
			input = json.RawMessage("{}")
		}
		return &types.ContentBlockMemberToolUse{Value: types.ToolUseBlock{ToolUseId: &b.ID, Name: &b.Name, Input: newDocument(input)}}, nil
	case chat.ToolResult:
		return toolResult(b, param, docs)
	case chat.Thinking:
		t := types.ReasoningTextBlock{Text: &b.Text, Signature: &b.Signature}
		return &types.ContentBlockMemberReasoningContent{Value: &types.ReasoningContentBlockMemberReasoningText{Value: t}}, nil
	case chat.Redacted:
		data, err := base64.StdEncoding.DecodeString(b.Data)
		if err != nil {
			return nil, fault.Invalid(param, "%s: the data of redacted reasoning must be base64 for this model", param)
		}
		return &types.ContentBlockMemberReasoningContent{Value: &types.ReasoningContentBlockMemberRedactedContent{Value: data}}, nil
	case chat.CachePoint:
		return &types.ContentBlockMemberCachePoint{Value: cachePoint(b)}, nil
	default:
		return nil, fault.Invalid(param, "this model does not support content of this kind")
	}
}

func toolResult(b chat.ToolResult, param string, docs documentNames) (types.ContentBlock, error) {
	r := types.ToolResultBlock{ToolUseId: &b.ID}
	if b.IsError {
		r.Status = types.ToolResultStatusError
	}
	for _, x := range b.Blocks {
		switch x := x.(type) {
		case chat.Text:
			r.Content = append(r.Content, &types.ToolResultContentBlockMemberText{Value: x.Text})
		case chat.Image:
			r.Content = append(r.Content, &types.ToolResultContentBlockMemberImage{Value: image(x)})
		case chat.Document:
			r.Content = append(r.Content, &types.ToolResultContentBlockMemberDocument{Value: docs.block(x)})
		default:
			return nil, fault.Invalid(or(b.Param, param), "content of this kind is not allowed in a tool result")
		}
	}
	return &types.ContentBlockMemberToolResult{Value: r}, nil
}

func image(b chat.Image) types.ImageBlock {
	if b.Base64 != nil {
		b.Data = b.Base64 // whose bytes jsonWriter knows by where they lie
	}
	return types.ImageBlock{Format: types.ImageFormat(b.Format), Source: &types.ImageSourceMemberBytes{Value: b.Data}}
}

// toolConfig is nil where there are no tools. none has no form in Converse: the
// tools stay out, or are there for the history's sake, and the choice is auto.
func toolConfig(r *chat.Request) *types.ToolConfiguration {
	if len(r.Tools) == 0 {
		return nil
	}
	c := &types.ToolConfiguration{Tools: make([]types.Tool, 0, len(r.Tools))}
	for _, t := range r.Tools {
		spec := types.ToolSpecification{Name: &t.Name, InputSchema: schemaDocument(t.Schema)}
		if t.Description != "" {
			spec.Description = &t.Description
		}
		if t.Strict {
			spec.Strict = &t.Strict
		}
		c.Tools = append(c.Tools, &types.ToolMemberToolSpec{Value: spec})
		if t.Cache != nil {
			c.Tools = append(c.Tools, &types.ToolMemberCachePoint{Value: cachePoint(*t.Cache)})
		}
	}
	switch r.ToolChoice.Mode {
	case chat.ToolChoiceAuto:
		c.ToolChoice = &types.ToolChoiceMemberAuto{}
	case chat.ToolChoiceAny:
		c.ToolChoice = &types.ToolChoiceMemberAny{}
	case chat.ToolChoiceTool:
		c.ToolChoice = &types.ToolChoiceMemberTool{Value: types.SpecificToolChoice{Name: &r.ToolChoice.Name}}
	}
	return c
}

func schemaDocument(raw json.RawMessage) types.ToolInputSchema {
	return &types.ToolInputSchemaMemberJson{Value: newDocument(raw)}
}
