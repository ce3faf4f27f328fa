package sim

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// geographies may stand before a publisher in an inference profile's id.
var geographies = []string{"us", "eu", "apac", "jp", "au", "ca", "global", "us-gov", "sa", "me", "af"}

var publishers = []string{
	"anthropic", "amazon", "meta", "mistral", "cohere", "ai21", "deepseek", "qwen", "openai", "writer", "google",
	"moonshot", "moonshotai", "minimax", "nvidia", "zai", "stability", "luma", "twelvelabs", "xai",
}

var (
	// Both after modelId's pattern in API_runtime_Converse, which is one long alternative.
	foundationID = regexp.MustCompile(`^[a-z0-9-]{1,63}\.[a-z0-9.-]{1,63}(:[a-z0-9.-]{1,63}){0,2}$`)
	modelARNs    = regexp.MustCompile(`^arn:aws(-[a-z]+)*:bedrock:[a-z0-9-]{1,20}:[0-9]{0,12}:(inference-profile|application-inference-profile|provisioned-model|imported-model|custom-model-deployment|foundation-model|prompt-router|default-prompt-router)/[A-Za-z0-9.:_-]+$`)
)

// model is what a path names.
type model struct {
	id        string // as decoded from the path
	publisher string // "" where the id does not show it
	name      string // behind the publisher
}

// resolve finds the model of an encoded path segment.
func resolve(segment, region string) (model, *fault) {
	id, err := url.PathUnescape(segment)
	if err != nil || id == "" {
		return model{}, invalid("The provided model identifier is invalid.")
	}
	m := model{id: id}
	plain := id
	if strings.HasPrefix(id, "arn:") {
		if !modelARNs.MatchString(id) {
			return model{}, invalid("The provided model identifier is invalid.")
		}
		plain = id[strings.LastIndexByte(id, '/')+1:]
	} else if !foundationID.MatchString(id) {
		return model{}, invalid("The provided model identifier is invalid.")
	}
	m.publisher, m.name = named(plain)
	// An ARN may hide whose the model is (a profile of the account's own); a plain id may not.
	if m.publisher == "" && plain == id {
		return model{}, invalid("The provided model identifier is invalid.")
	}
	// For tests: any id that is well formed exists, but for these.
	if strings.Contains(id, "nonexistent") {
		return model{}, exception("ResourceNotFoundException", region, id)
	}
	return m, nil
}

// named cuts publisher and name out of an id; both are empty where it does not show them.
func named(id string) (publisher, name string) {
	parts := strings.Split(id, ".")
	if len(parts) > 2 && slices.Contains(geographies, parts[0]) {
		parts = parts[1:]
	}
	if len(parts) > 1 && slices.Contains(publishers, parts[0]) {
		return parts[0], strings.Join(parts[1:], ".")
	}
	return "", ""
}
