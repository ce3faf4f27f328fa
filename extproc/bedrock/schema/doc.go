// Package schema rewrites a caller's JSON Schema into the forms that Bedrock's
// models take: the input schema of a tool (Tool), of constrained decoding (Native),
// and of families that read no references and few members (Plain).
//
// A schema is JSON that a dialect has checked. Members keep their order, in which
// a model writes them, and numbers their digits. Each form costs time and bytes in
// proportion to what the caller sent, whatever references lead to: chat's bounds
// on schemas are enforced here, and what Plain writes out is paid for from a Budget.
//
// Errors say what is wrong after the words "the schema"; the caller knows whose it
// is, and names the member.
//
// Caller: bedrock.
package schema
