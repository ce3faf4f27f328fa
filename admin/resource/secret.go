package resource

import "log/slog"

// Secret is a string that prints, marshals and logs as "[redacted]". Only Reveal
// gives it away.
type Secret string

const redacted = "[redacted]"

func (s Secret) String() string               { return redacted }
func (s Secret) GoString() string             { return redacted }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }

// Reveal is the secret itself, for signing and sealing.
func (s Secret) Reveal() string { return string(s) }
