package bedrock

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"aisix/extproc/chat"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
)

// documentNames are the names in use in one request, lower-cased, each with the
// number that its latest namesake got: Converse wants them unique without regard
// to case.
type documentNames map[string]int

func (n documentNames) block(d chat.Document) types.DocumentBlock {
	name := n.unique(d.Name)
	return types.DocumentBlock{Name: &name, Format: types.DocumentFormat(d.Format), Source: &types.DocumentSourceMemberBytes{Value: d.Data}}
}

// Converse takes letters, digits, single spaces, hyphens, parentheses and square
// brackets, up to 200.
var (
	notInName = regexp.MustCompile(`[^a-zA-Z0-9 ()\[\]-]+`)
	spaces    = regexp.MustCompile(` {2,}`)
)

const maxDocumentName = 200

func (n documentNames) unique(name string) string {
	clean := strings.TrimSpace(spaces.ReplaceAllString(notInName.ReplaceAllString(name, " "), " "))
	if clean == "" {
		clean = "document"
	}
	clean = strings.TrimSpace(clean[:min(len(clean), maxDocumentName)])
	plain := strings.ToLower(clean)
	for {
		n[plain]++
		if n[plain] == 1 {
			return clean
		}
		suffix := " (" + strconv.Itoa(n[plain]) + ")"
		candidate := strings.TrimSpace(clean[:min(len(clean), maxDocumentName-len(suffix))]) + suffix
		if key := strings.ToLower(candidate); n[key] == 0 {
			n[key] = 1
			return candidate
		}
	}
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
