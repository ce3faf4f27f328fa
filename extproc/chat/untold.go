package chat

import (
	"encoding/json"
	"slices"
)

// Untold is the type of a JSON object, as upstreams tag blocks, parts and events; ok where it is none
// of those that a decoder tells, whose members may then be of any kind: nothing was to be read.
func Untold(text []byte, told []string) (kind string, ok bool) {
	var o struct {
		Type string `json:"type"`
	}
	err := json.Unmarshal(text, &o)
	return o.Type, err == nil && !slices.Contains(told, o.Type)
}
