package resource

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A rule is what a member may hold, by the name that its tag gives.
type rule struct {
	text    func(string) string // what is wrong with a text, "" if nothing is; nil: any is legal
	value   func(any) string    // the same, of what is no text
	missing string              // what is said where a text is required and not there
	unit    string              // what is said before the bounds of a number
	schema  Schema              // of a text that is there
}

const (
	maxName    = 255     // characters of a name
	maxModelID = 2048    // bytes, as Bedrock has it
	maxPrice   = 1000000 // US dollars per 1,000 tokens
)

// never are the parameters that ignore_params can't hold: without them there is no
// request, or the caller could not read the answer.
var never = []string{
	"model", "messages", "stream",
	"messages.role", "messages.content", "messages.tool_calls", "messages.tool_call_id",
}

// MaxMetadata is how many members Bedrock's requestMetadata takes.
const MaxMetadata = 16

// The shapes of texts, for Go and for JSON Schema alike. Those of Bedrock's own members
// are of its service model (bedrock-runtime).
const (
	nameShape      = `[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*`
	twoStars       = `\*.*\*`
	labelShape     = `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`
	publisherShape = `[a-z0-9][a-z0-9-]{0,63}`
	hashShape      = `[0-9a-f]{64}`
	modelIDShape   = `([A-Za-z0-9][A-Za-z0-9._:/*-]*|\*[A-Za-z0-9._:/-]*)`
	fieldShape     = `[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}`
	guardrailShape = `([a-z0-9]+|arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/[a-z0-9]+)`
	versionShape   = `([1-9][0-9]{0,7}|DRAFT)`
	roleShape      = `arn:aws(-[a-z0-9-]+)?:iam::[0-9]{12}:role/[\w+=,.@/-]{1,576}`
	externalShape  = `[\w+=,.@:/-]{2,}`
	metadataShape  = `[a-zA-Z0-9 \t\n\x0b\f\r:_@$#=/+,.-]`
)

var rules = map[string]*rule{
	"name": {text: checkName, missing: requiredName, schema: Schema{"maxLength": maxName, "pattern": whole(nameShape)}},
	"pattern": {text: checkPattern, missing: requiredName,
		schema: Schema{"maxLength": maxName, "pattern": whole(nameShape), "not": Schema{"pattern": twoStars}}},
	"label": shaped(labelShape, "must be 1 to 64 letters, digits, dots, dashes and underscores"),
	// Another spelling than that of model ids would match none.
	"publisher": shaped(publisherShape, "must be as in model ids: 1 to 64 lower-case letters, digits and dashes"),
	"hash":      shaped(hashShape, "must be a SHA-256 as 64 lower-case hex digits"),
	"model_id":  {text: checkModelID, missing: "is required", schema: Schema{"maxLength": maxModelID, "pattern": whole(modelIDShape)}},
	"base": {text: func(text string) string {
		_, problem := cleanBase(text)
		return problem
	}, schema: Schema{"maxLength": maxModelID}},
	"secret": {schema: Schema{"writeOnly": true,
		"examples": []string{`{"access_key_id":"AKIAIOSFODNN7EXAMPLE","secret_access_key":"wJalrXUtnFEMI/K7MDENG","region":"us-west-2"}`}}},
	"milliseconds": {unit: "milliseconds, "},
	"price":        {value: checkPrice},
	"credential":   {text: checkCredential, missing: requiredName},
	"bearer":       {text: checkBearer, missing: requiredName},
	"role_arn":     {text: shaped(roleShape, "must be the ARN of a role, such as arn:aws:iam::111122223333:role/bedrock").text, missing: "is required: the ARN of a role"},
	"external_id":  {text: checkExternalID},
	"session_name": {text: shaped(`[\w+=,.@-]{2,64}`, "must be 2 to 64 letters, digits and any of + = , . @ - _").text},
	"token_file":   {text: checkTokenFile, missing: "is required: the path of the token's file"},
	"region":       {text: shaped(`[a-z0-9-]+`, "must be lower-case letters, digits and dashes").text, missing: requiredName},

	"guardrail":         {text: checkGuardrail, missing: "is required: a guardrail's id or ARN", schema: Schema{"maxLength": maxModelID, "pattern": whole(guardrailShape)}},
	"guardrail_version": {text: shaped(versionShape, "must be a version's number, or DRAFT").text, missing: "is required: a version's number, or DRAFT", schema: Schema{"pattern": whole(versionShape)}},
	"field_path":        shaped(fieldShape, "must be a member's name, or names with dots between"),
	"object":            {value: checkObject, schema: Schema{"type": "object"}},
	"metadata": {value: checkMetadata, schema: Schema{"maxProperties": MaxMetadata,
		"propertyNames":        Schema{"pattern": whole(metadataShape + "{1,256}")},
		"additionalProperties": Schema{"type": "string", "pattern": whole(metadataShape + "{0,256}")}}},
	"parameter": {text: checkParameter, schema: Schema{"maxLength": maxName, "pattern": whole(nameShape), "not": Schema{"enum": never}}},

	// Of answers only:
	"uuid":      {schema: Schema{"format": "uuid"}},
	"plaintext": {schema: Schema{"pattern": whole("sk-[A-Za-z0-9_-]{43}")}},
}

func whole(shape string) string { return "^" + shape + "$" }

// shaped is the rule of texts that a regular expression describes.
func shaped(shape, message string) *rule {
	matches := regexp.MustCompile(whole(shape)).MatchString
	return &rule{schema: Schema{"pattern": whole(shape)}, text: func(text string) string {
		if !matches(text) {
			return message
		}
		return ""
	}}
}

const requiredName = "is required and must not be empty"

func checkName(s string) string {
	switch {
	case s == "":
		return requiredName
	case utf8.RuneCountInString(s) > maxName:
		return fmt.Sprintf("must have at most %d characters", maxName)
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must not contain control characters"
	case strings.TrimSpace(s) == "":
		return "must not be blank"
	}
	return ""
}

// checkPattern is of names that may hold a *, as aliases and allowlists do.
func checkPattern(s string) string {
	problem := checkName(s)
	if problem == "" && strings.Count(s, "*") > 1 {
		return "may contain at most one *"
	}
	return problem
}

var modelID = regexp.MustCompile(whole(modelIDShape))

func checkModelID(s string) string {
	if len(s) > maxModelID || !modelID.MatchString(s) || slices.Contains(strings.Split(s, "/"), "..") {
		return "must be a model id, an inference profile id or an ARN"
	}
	return ""
}

var guardrailID = regexp.MustCompile(whole(guardrailShape))

func checkGuardrail(s string) string {
	if len(s) > maxModelID || !guardrailID.MatchString(s) {
		return "must be a guardrail's id or ARN"
	}
	return ""
}

func checkParameter(s string) string {
	if slices.Contains(never, s) {
		return "can't be ignored: " + strings.Join(never, ", ")
	}
	return checkName(s)
}

// checkCredential is of what goes into headers: a line break that came along would
// break every call.
func checkCredential(s string) string {
	switch {
	case s == "":
		return "must not be empty"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must not contain control characters"
	}
	return ""
}

// checkBearer is of what stands behind Bearer in a header.
func checkBearer(s string) string {
	if problem := checkCredential(s); problem != "" {
		return problem
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return "must be visible ASCII characters, as a header carries them"
		}
	}
	return ""
}

var externalID = regexp.MustCompile(whole(externalShape))

func checkExternalID(s string) string {
	if len(s) > 1224 || !externalID.MatchString(s) {
		return "must be 2 to 1224 letters, digits and any of + = , . @ : / - _"
	}
	return ""
}

func checkTokenFile(s string) string {
	switch {
	case !path.IsAbs(s) || path.Clean(s) != s:
		return "must be an absolute path, without . and .. in it"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must not contain control characters"
	}
	return ""
}

func checkPrice(v any) string {
	price := string(v.(json.Number))
	f, err := strconv.ParseFloat(price, 64)
	if err != nil || f < 0 || f > maxPrice || len(price) > 32 {
		return fmt.Sprintf("must be US dollars, a number of 0 to %d in at most 32 digits", maxPrice)
	}
	return ""
}

func checkObject(v any) string {
	if raw := v.(json.RawMessage); raw[0] != '{' {
		return "must be an object"
	}
	return ""
}

func checkMetadata(v any) string {
	all := v.(map[string]string)
	if len(all) > MaxMetadata {
		return fmt.Sprintf("must have at most %d members", MaxMetadata)
	}
	for key, value := range all {
		if !MetadataFits(key, value) {
			return "must have names and values of up to 256 letters, digits, spaces and any of _ : @ $ # = / + , - . (a name needs one)"
		}
	}
	return ""
}

var (
	metadataKey   = regexp.MustCompile(whole(metadataShape + "{1,256}"))
	metadataValue = regexp.MustCompile(whole(metadataShape + "{0,256}"))
)

// MetadataFits reports whether Bedrock's requestMetadata takes a member.
func MetadataFits(key, value string) bool {
	return metadataKey.MatchString(key) && metadataValue.MatchString(value)
}
