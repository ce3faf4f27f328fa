package sim

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// table.json is what the simulator knows of models: what Bedrock refuses to which, in whose words, and
// what they are in the habit of answering. It is the simulator's own, and not the gateway's: two
// tables that were written apart find each other's mistakes. Each row has the month of the last look
// and where the fact is from; models are patterns over publisher and name, "" is every model, those of
// an opaque ARN too.
//
//go:embed table.json
var tableJSON []byte

// refusalRow is a rule (rules) for some models, and what is said of a request that breaks it.
type refusalRow struct {
	Rule   string   `json:"rule"`
	Models pattern  `json:"models"`
	Except pattern  `json:"except"`
	Values []string `json:"values"` // what the rule looks for
	Limit  int      `json:"limit"`
	By     string   `json:"by"`     // model: Converse passes its words on, and says that they are the model's
	Status int      `json:"status"` // 400 where nothing is said
	Kind   string   `json:"kind"`   // ValidationException where nothing is said
	AsOf   string   `json:"as_of"`
	Source string   `json:"source"`
	Says   string   `json:"says"` // {name} stands for what the rule found
}

// habitRow is how some models answer.
type habitRow struct {
	Habit  string  `json:"habit"`
	Models pattern `json:"models"`
	Except pattern `json:"except"`
	AsOf   string  `json:"as_of"`
	Source string  `json:"source"`
}

var table = mustTable(tableJSON)

type tableRows struct {
	Refusals []refusalRow `json:"refusals"`
	Habits   []habitRow   `json:"habits"`
	Betas    []betaRow    `json:"betas"`
	Places   []placeRow   `json:"places"`
}

// mustTable reads the table, in which nothing may be unknown: a misspelled rule would refuse nothing.
func mustTable(data []byte) (t tableRows) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		panic("sim: table.json: " + err.Error())
	}
	for _, r := range t.Refusals {
		if rules[r.Rule] == nil || r.AsOf == "" || r.Source == "" || r.Says == "" {
			panic(fmt.Sprintf("sim: table.json: a row of the rule %q is of no rule, or has no date, source or words", r.Rule))
		}
	}
	for _, h := range t.Habits {
		if h.AsOf == "" || h.Source == "" {
			panic(fmt.Sprintf("sim: table.json: the habit %q has no date or no source", h.Habit))
		}
	}
	for _, b := range t.Betas {
		if b.Flag == "" && b.Member == "" || b.AsOf == "" || b.Source == "" {
			panic(fmt.Sprintf("sim: table.json: the beta flag %q has no date or no source", b.Flag))
		}
	}
	for _, p := range t.Places {
		if services[p.Host] == "" || p.AsOf == "" || p.Source == "" {
			panic(fmt.Sprintf("sim: table.json: a place on the host %q has no date, no source or no such host", p.Host))
		}
	}
	return t
}

// pattern is a regular expression in JSON; the empty one is nil.
type pattern struct{ *regexp.Regexp }

func (p *pattern) UnmarshalText(text []byte) (err error) {
	if len(text) > 0 {
		p.Regexp, err = regexp.Compile(string(text))
	}
	return err
}

// matches reports whether a row with these patterns is of the model.
func (m model) matches(models, except pattern) bool {
	full := m.publisher + "." + m.name
	return (models.Regexp == nil || models.MatchString(full)) && (except.Regexp == nil || !except.MatchString(full))
}

// has reports whether the model has a habit.
func (m model) has(habit string) bool {
	for _, h := range table.Habits {
		if h.Habit == habit && m.matches(h.Models, h.Except) {
			return true
		}
	}
	return false
}

// refuse is the first row of the table that a request breaks, as a fault.
func refuse(m model, w *wish) *fault {
	for _, r := range table.Refusals {
		if !m.matches(r.Models, r.Except) {
			continue
		}
		if found := rules[r.Rule](w, r); found != nil {
			return r.fault(w, found)
		}
	}
	return nil
}

func (r refusalRow) fault(w *wish, found finding) *fault {
	says := r.Says
	for name, value := range found {
		says = strings.ReplaceAll(says, "{"+name+"}", value)
	}
	// Converse passes on what only the model refuses, and says so.
	if r.By == "model" && w.converse {
		says = "The model returned the following errors: " + says
	}
	f := &fault{status: http.StatusBadRequest, kind: or(r.Kind, "ValidationException"), message: says}
	if r.Status != 0 {
		f.status = r.Status
	}
	return f
}
