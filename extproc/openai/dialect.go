package openai

import (
	"net/http"

	"aisix/extproc/fault"
)

// Fault is the answer that tells a caller of this dialect about f.
func (Chat) Fault(f *fault.Error) (status int, header http.Header, body []byte) { return Fault(f) }
