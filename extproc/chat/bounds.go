package chat

// What one request may hold, beside its bytes, which the proxy's own limit bounds
// (proxy.max_body_bytes), and beside what any JSON may hold (admin/strict). A few
// bytes of JSON can cost much more than they weigh: in memory once decoded, in steps
// where one part is compared with others, in what is sent where a part stands for a
// larger one. Each bound lies above what a prompt of a million tokens needs, and each
// is a 400 that names the member and the bound.

// The conversation. Counts are of the whole request, not of one message.
const (
	MaxMessages       = 20_000
	MaxParts          = 20_000 // content parts
	MaxToolCalls      = 10_000
	MaxThinkingBlocks = 10_000
	MaxStop           = 2_500 // stop sequences; Converse's own bound
	MaxLabels         = 256   // metadata; OpenAI's own bound is 16
)

// Tools, and their schemas: that of structured output is bounded alike.
const (
	MaxTools    = 10_000
	MaxToolName = 1 << 10 // bytes; of a definition, a choice or a call

	// Of a schema that is rewritten for the model.
	MaxSchemaValues  = 1 << 16 // values and member names
	MaxSchemaDepth   = 64      // levels of subschemas
	MaxReference     = 1 << 10 // bytes of a $ref
	MaxPointerTokens = 64      // tokens of the JSON Pointer in a $ref
	MaxReferences    = 64      // $refs that lead from one to the next
	MaxExpansion     = 1 << 20 // bytes that $refs add to all schemas of a request; never more than a body may hold

	// Of a strict schema, which Bedrock compiles to a grammar.
	MaxSubschemas   = 10_000  // properties, items, alternatives and definitions; OpenAI's own bound is 5,000 properties
	MaxStrictSchema = 1 << 20 // bytes
)
