package bedrock

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"aisix/extproc/chat"
	"aisix/extproc/jsonedit"
)

// betas.json holds what is known of the flags of Anthropic's header anthropic-beta on
// Bedrock: which it refuses, and what else it calls one. A flag that no row knows passes. New
// flags need a row at most, never code.
//
//go:embed betas.json
var betasJSON []byte

// betaRow is a row of the file. Each has the month of the last look and where the fact is from.
type betaRow struct {
	Flag   string   `json:"flag"`             // a pattern
	Drop   bool     `json:"drop,omitempty"`   // Bedrock refuses it, or has no use for it
	Except []string `json:"except,omitempty"` // the models that it is not dropped for, as patterns
	Only   []string `json:"only,omitempty"`   // the models that it is for, as patterns: it is dropped for all others
	Rename string   `json:"rename,omitempty"` // Bedrock's name for it
	// Needs is the member of the body that the flag is for: without it the flag does not go. A
	// flag that is dropped takes it along. It is a place (below).
	Needs string `json:"needs,omitempty"`
	// Members of the body are what Bedrock does not take, with the flag or without: they
	// go where the flag came.
	Members []string `json:"members,omitempty"`
	// Opens is a member that Bedrock takes with the flag alone, and Anthropic without: where a
	// body has it, the flag goes to the models OpensFor, as patterns, whether it came or not. It is a
	// place, too.
	Opens    string   `json:"opens,omitempty"`
	OpensFor []string `json:"opens_for,omitempty"`
	AsOf     string   `json:"as_of"`
	Source   string   `json:"source"`
}

var betaRows = mustBetas(betasJSON)

func mustBetas(data []byte) []betaRow {
	var rows []betaRow
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&rows); err != nil {
		panic(fmt.Sprintf("bedrock: betas.json: %v", err))
	}
	for i, row := range rows {
		if _, err := path.Match(row.Flag, ""); err != nil || row.Flag == "" || row.AsOf == "" || row.Source == "" {
			panic(fmt.Sprintf("bedrock: betas.json: row %d has no good flag, date or source", i))
		}
	}
	return rows
}

// betaOf is the row that knows a flag, nil where none does.
func betaOf(flag string) *betaRow {
	for i := range betaRows {
		if ok, _ := path.Match(betaRows[i].Flag, flag); ok {
			return &betaRows[i]
		}
	}
	return nil
}

// betas are the flags that go to the model of those that the caller sent, each once, and the
// members of its body that go with what does not, beside those that go anyway.
func (m *Model) betas(flags []string, body jsonedit.Text, gone []string) (kept, without, notes []string) {
	base := baseID(m.ID, m.Publisher)
	without = gone
	among := func(patterns []string) bool { return matches(patterns, base) }
	var dropped []string
	add := func(list []string, s string) []string {
		if slices.Contains(list, s) {
			return list
		}
		return append(list, s)
	}
	for _, flag := range flags {
		row := betaOf(flag)
		if !m.takesBeta(flag) || row != nil && row.Rename != "" && !m.takesBeta(row.Rename) {
			dropped = append(dropped, flag)
			if row != nil && row.Needs != "" {
				without = add(without, row.Needs)
			}
			continue
		}
		if row == nil {
			kept = add(kept, flag)
			continue
		}
		for _, member := range row.Members {
			without = add(without, member)
		}
		drop := row.Drop && !among(row.Except) || row.Only != nil && !among(row.Only)
		switch {
		case drop:
			dropped = append(dropped, flag)
			if row.Needs != "" {
				without = add(without, row.Needs)
			}
		case row.Needs != "" && (!hasMember(body, row.Needs) || slices.Contains(without, row.Needs)):
		case row.Rename != "":
			kept = add(kept, row.Rename)
		default:
			kept = add(kept, flag)
		}
	}
	for _, row := range betaRows {
		if row.Opens != "" && named(body, row.Opens) && hasMember(body, row.Opens) && !slices.Contains(without, row.Opens) && among(row.OpensFor) && m.takesBeta(row.Flag) {
			kept = add(kept, row.Flag)
		}
	}
	if len(dropped) > 0 {
		notes = append(notes, "flags of anthropic-beta that Bedrock does not take were left out: "+chat.AllNamed(dropped))
	}
	return kept, without, notes
}

// A place is where a member stands in a body: its name; `outer.inner` of one inside an object, or
// inside each object of an array; and `outer.inner=value` of one that says value.

// opens reports whether a flag opens the member at a place for the model.
func (m *Model) opens(place string) bool {
	return slices.ContainsFunc(betaRows, func(row betaRow) bool { return row.Needs == place && matches(row.Only, baseID(m.ID, m.Publisher)) })
}

// named reports whether the name of the member at a place is anywhere in a body: if not, it need not
// be looked for.
func named(t jsonedit.Text, place string) bool {
	return bytes.Contains(t, []byte(`"`+place[strings.LastIndexByte(place, '.')+1:]+`"`))
}

// hasMember reports whether a body has a member at a place.
func hasMember(t jsonedit.Text, place string) bool {
	path, value, valued := strings.Cut(place, "=")
	at := placed(t, t.Root(), strings.Split(path, "."))
	return at != (jsonedit.Span{}) && string(t.At(at)) != "null" && (!valued || t.String(at) == value)
}

// placed is the first value behind the names.
func placed(t jsonedit.Text, at jsonedit.Span, names []string) jsonedit.Span {
	if len(names) == 0 {
		return at
	}
	for item := range t.Items(at) {
		if at := placed(t, item, names); at != (jsonedit.Span{}) {
			return at
		}
	}
	inner, ok := t.Member(at, names[0])
	if !ok {
		return jsonedit.Span{}
	}
	return placed(t, inner, names[1:])
}

// isAt reports whether one of the places inside an object, inner or inner=value, is a member's.
func isAt(t jsonedit.Text, m jsonedit.Member, places []string) bool {
	return slices.ContainsFunc(places, func(place string) bool {
		name, value, valued := strings.Cut(place, "=")
		return m.Name == name && (!valued || t.String(m.Value) == value)
	})
}
