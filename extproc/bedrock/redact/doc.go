// Package redact cleans what AWS says of a request before anybody reads it, of
// what its reader must not see.
//
// The caller must not see AWS's identifiers (New, Redactor.Message): the account,
// the region and the endpoint are the operator's business. The operator's log must
// not hold what the caller said (Quotes, Texts).
//
// Both lose a word too many rather than one too few, but for AWS's own sentences in
// the log, which the operator needs (sentences.txt).
//
// Caller: bedrock.
package redact
