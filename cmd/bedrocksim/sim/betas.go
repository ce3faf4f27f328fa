package sim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// betaRow is what Bedrock makes of a beta flag of Anthropic's: which of its hosts refuse it; or which
// flags a member of the body, or one value of it, needs, without which it is as unknown as any other.
// A member that needs a flag which is none is not for these models.
type betaRow struct {
	Flag    string   `json:"flag"`
	Refused []string `json:"refused"`
	Member  string   `json:"member"`
	Value   string   `json:"value"`
	Needs   []string `json:"needs"`
	Models  pattern  `json:"models"`
	Lenient bool     `json:"lenient"` // Converse is not known to want the flag
	AsOf    string   `json:"as_of"`
	Source  string   `json:"source"`
}

// checkBetas holds a body to its flags: those in anthropic_beta on the runtime host, those of the header
// on mantle. A flag that no row knows is taken.
func checkBetas(m model, d api, flags []string, body any) *fault {
	host := runtimeHost
	if d == apiMessages {
		host = mantleHost
	}
	for _, flag := range flags {
		for _, row := range table.Betas {
			if row.Flag != flag || !slices.Contains(row.Refused, host) {
				continue
			}
			if host == mantleHost {
				return invalid("Unexpected value(s) `%s` for the `anthropic-beta` header. Please consult our documentation at docs.anthropic.com or try again without the header.", flag)
			}
			return invalid("invalid beta flag")
		}
	}
	for _, row := range table.Betas {
		if row.Member == "" || row.Lenient && d == apiConverse || !m.matches(row.Models, pattern{}) || slices.ContainsFunc(flags, func(f string) bool { return slices.Contains(row.Needs, f) }) {
			continue
		}
		switch path := find(body, strings.Split(row.Member, "."), row.Value, ""); {
		case path != "" && row.Value != "":
			return at(path, "Input should be a value that this model takes, not '%s'", row.Value)
		case path != "":
			return at(path, "Extra inputs are not permitted")
		}
	}
	return nil
}

// find is the path of the first member that a pattern of names is of, and that says value where one is
// given; * is every item of a list.
func find(v any, names []string, value, path string) string {
	if len(names) == 0 {
		if s, _ := v.(string); value != "" && s != value {
			return ""
		}
		return path
	}
	if names[0] == "*" {
		l, _ := v.([]any)
		for i, e := range l {
			if found := find(e, names[1:], value, join(path, fmt.Sprint(i))); found != "" {
				return found
			}
		}
		return ""
	}
	if next := child(v, names[0]); next != nil {
		return find(next, names[1:], value, join(path, names[0]))
	}
	return ""
}

// bodyFlags are the flags in a body; the rest of it need not be checked yet.
func bodyFlags(body any) (flags []string) {
	for _, f := range items(body, "anthropic_beta") {
		if s, ok := f.(string); ok {
			flags = append(flags, s)
		}
	}
	return flags
}

// headerFlags are those of the header, which may come more than once and hold lists.
func headerFlags(h http.Header) (flags []string) {
	for _, v := range h.Values("Anthropic-Beta") {
		for _, f := range strings.Split(v, ",") {
			if f = strings.TrimSpace(f); f != "" {
				flags = append(flags, f)
			}
		}
	}
	return flags
}

// faultsOfClaude are what a body for Claude does that is taken, but costs whoever sent it.
func faultsOfClaude(body any) (faults []string) {
	if blocks := contentOf(body, "system"); len(blocks) > 0 && strings.HasPrefix(str(blocks[0], "text"), "x-anthropic-billing-header") {
		faults = append(faults, "system.0: x-anthropic-billing-header differs from prompt to prompt, and nothing behind it is read from the cache")
	}
	return faults
}
