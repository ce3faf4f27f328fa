// Package sim is a Bedrock to develop and test against: a strict one, that
// refuses what Bedrock would refuse, in Bedrock's way.
//
// It verifies signatures (sigv4) and API keys, is both of Bedrock's hosts (hosts,
// places), checks bodies against the shapes of Converse, Anthropic's Messages,
// Chat Completions, Responses and of embeddings, against the rules of a
// conversation and against a table of what each model refuses (table.json, rules),
// answers by what was asked, plays an agent's model (agent), and misbehaves when
// told to. It shares no code with the gateway, so that the two can find each
// other's mistakes. It is no model: its answers are echoes, made-up tool arguments
// and made-up numbers.
//
// Callers: cmd/bedrocksim.
package sim
