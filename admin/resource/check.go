package resource

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxName    = 255          // characters of a name
	maxModelID = 2048         // bytes, as Bedrock has it
	maxTimeout = 24 * 3600000 // ms: a day
	maxLimit   = 1<<53 - 1    // what a Lua number holds exactly
	maxPrice   = 1000000      // US dollars per 1,000 tokens
	maxPattern = 1024         // entries of an allowlist, and of other lists
)

var (
	regionShape    = regexp.MustCompile(`^[a-z0-9-]+$`)
	hashShape      = regexp.MustCompile(`^[0-9a-f]{64}$`)
	modelIDShape   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/*-]*$|^\*[A-Za-z0-9._:/-]*$`)
	labelShape     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	publisherShape = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
)

func (k *ProviderKey) check() *Invalid {
	if invalid := checkName("/display_name", k.DisplayName); invalid != nil {
		return invalid
	}
	if invalid := checkLabel("/provider", k.Provider); invalid != nil {
		return invalid
	}
	if k.Adapter != DefaultAdapter {
		return &Invalid{Pointer: "/adapter", Message: "must be bedrock"}
	}
	if k.APIBase == "" {
		return nil
	}
	base, problem := cleanBase(k.APIBase)
	if problem != "" {
		return &Invalid{Pointer: "/api_base", Message: problem}
	}
	k.APIBase = base
	return nil
}

func (m *Model) check() *Invalid {
	if invalid := checkName("/display_name", m.DisplayName); invalid != nil {
		return invalid
	}
	star := strings.Count(m.DisplayName, "*")
	switch {
	case star > 1:
		return &Invalid{Pointer: "/display_name", Message: "may hold one * at most"}
	case m.ModelName == "":
		return &Invalid{Pointer: "/model_name", Message: "is required"}
	case len(m.ModelName) > maxModelID, !modelIDShape.MatchString(m.ModelName), slices.Contains(strings.Split(m.ModelName, "/"), ".."):
		return &Invalid{Pointer: "/model_name", Message: "is no model id, inference profile id or ARN"}
	case strings.Count(m.ModelName, "*") > star:
		return &Invalid{Pointer: "/model_name", Message: "may hold one * at most, where display_name holds one"}
	case m.ProviderKeyID == "":
		return &Invalid{Pointer: "/provider_key_id", Message: "is required"}
	}
	if m.Publisher != "" {
		if invalid := checkPublisher(m.Publisher); invalid != nil {
			return invalid
		}
	}
	for _, invalid := range []*Invalid{checkLabel("/provider", m.Provider), m.RateLimit.check(), m.Cost.check()} {
		if invalid != nil {
			return invalid
		}
	}
	return m.Bedrock.check()
}

func (k *APIKey) check() *Invalid {
	if k.AllowedModels == nil {
		return &Invalid{Pointer: "/allowed_models", Message: "is required"}
	}
	if len(k.AllowedModels) > maxPattern {
		return &Invalid{Pointer: "/allowed_models", Message: fmt.Sprintf("may hold at most %d names", maxPattern)}
	}
	for i, pattern := range k.AllowedModels {
		pointer := at("/allowed_models", i)
		if invalid := checkName(pointer, pattern); invalid != nil {
			return invalid
		}
		if strings.Count(pattern, "*") > 1 {
			return &Invalid{Pointer: pointer, Message: "may hold one * at most"}
		}
	}
	for _, text := range []struct{ pointer, value string }{{"/display_name", k.DisplayName}, {"/team_id", k.TeamID}, {"/user_id", k.UserID}} {
		if text.value == "" {
			continue
		}
		if invalid := checkName(text.pointer, text.value); invalid != nil {
			return invalid
		}
	}
	return k.RateLimit.check()
}

func checkHash(hash string) *Invalid {
	if !hashShape.MatchString(hash) {
		return &Invalid{Pointer: "/key_hash", Message: "must be a SHA-256 as 64 lower-case hex digits"}
	}
	return nil
}

func (l *RateLimit) check() *Invalid {
	if l == nil {
		return nil
	}
	v := reflect.ValueOf(*l)
	for i := range v.NumField() {
		limit, _ := v.Field(i).Interface().(*int64)
		if limit != nil && (*limit < 0 || *limit > maxLimit) {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			return &Invalid{Pointer: "/rate_limit/" + name, Message: fmt.Sprintf("must be 0 to %d", maxLimit)}
		}
	}
	return nil
}

func (c *Cost) check() *Invalid {
	if c == nil {
		return nil
	}
	v := reflect.ValueOf(*c)
	for i := range v.NumField() {
		price, _ := v.Field(i).Interface().(*json.Number)
		if price == nil {
			continue
		}
		f, err := strconv.ParseFloat(string(*price), 64)
		if err != nil || f < 0 || f > maxPrice || len(*price) > 32 {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			return &Invalid{Pointer: "/cost/" + name, Message: fmt.Sprintf("must be US dollars, a number of 0 to %d in at most 32 digits", maxPrice)}
		}
	}
	return nil
}

func checkName(pointer, s string) *Invalid {
	switch {
	case s == "":
		return &Invalid{Pointer: pointer, Message: "is required and must not be empty"}
	case utf8.RuneCountInString(s) > maxName:
		return &Invalid{Pointer: pointer, Message: fmt.Sprintf("may have at most %d characters", maxName)}
	case strings.ContainsFunc(s, unicode.IsControl):
		return &Invalid{Pointer: pointer, Message: "must not hold control characters"}
	case strings.TrimSpace(s) == "":
		return &Invalid{Pointer: pointer, Message: "must not be blank"}
	}
	return nil
}

func checkLabel(pointer, s string) *Invalid {
	if len(s) > 64 || !labelShape.MatchString(s) {
		return &Invalid{Pointer: pointer, Message: "must be 1 to 64 letters, digits, dots, dashes and underscores"}
	}
	return nil
}

// checkPublisher takes the spelling that model ids have: another would match none.
func checkPublisher(s string) *Invalid {
	if len(s) > 64 || !publisherShape.MatchString(s) {
		return &Invalid{Pointer: "/publisher", Message: "must be as in model ids: 1 to 64 lower-case letters, digits and dashes"}
	}
	return nil
}
