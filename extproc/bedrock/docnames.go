package bedrock

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"aisix/extproc/chat"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
)

// documentNames are the names in use in one request, lower-cased, and what long
// ones were cut to, each with the number that its latest namesake got: Converse
// wants them unique without regard to case.
type documentNames map[string]int

func (n documentNames) block(d chat.Document) types.DocumentBlock {
	name := n.unique(d.Name)
	return types.DocumentBlock{Name: &name, Format: types.DocumentFormat(d.Format), Source: &types.DocumentSourceMemberBytes{Value: d.Data}}
}

// Converse takes letters, digits, single spaces, hyphens, parentheses and square
// brackets, up to 200.
const (
	maxDocumentName = 200
	maxNameSuffix   = len(" (1000000)") // more than a request can hold
)

func (n documentNames) unique(name string) string {
	clean := cleanName(name)
	if plain := strings.ToLower(clean); n[plain] == 0 {
		n[plain] = 1
		return clean
	}
	// Namesakes count on from each other, long ones whatever was cut off: to begin
	// anew for each would try all numbers before its own.
	stem := strings.TrimSpace(clean[:min(len(clean), maxDocumentName-maxNameSuffix)])
	count := strings.ToLower(stem)
	for n[count] = max(n[count], 1); ; {
		n[count]++
		candidate := stem + " (" + strconv.Itoa(n[count]) + ")"
		if key := strings.ToLower(candidate); n[key] == 0 {
			n[key] = 1
			return candidate
		}
	}
}

// cleanName is name with a space for all that may not stand in one, cut where it
// is long.
func cleanName(name string) string {
	clean := make([]byte, 0, min(len(name), maxDocumentName)+1)
	for i := 0; i < len(name) && len(clean) < maxDocumentName; i++ {
		c := name[i]
		if !alphanumeric(rune(c)) && strings.IndexByte("()[]-", c) < 0 {
			c = ' '
		}
		if c != ' ' || len(clean) > 0 && clean[len(clean)-1] != ' ' {
			clean = append(clean, c)
		}
	}
	if s := strings.TrimSpace(string(clean)); s != "" {
		return s
	}
	return "document"
}

// onlyDocuments is the name of the first document of a turn that has no text: it
// is said in words too, since Bedrock refuses documents without any. "" where
// nothing is missing.
func onlyDocuments(content []types.ContentBlock) string {
	name := ""
	for _, b := range content {
		switch b := b.(type) {
		case *types.ContentBlockMemberText:
			return ""
		case *types.ContentBlockMemberDocument:
			if name == "" {
				name = *b.Value.Name
			}
		}
	}
	return name
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
