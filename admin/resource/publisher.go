package resource

import (
	"regexp"
	"strings"
)

// ARNPrefix is what every ARN begins with.
const ARNPrefix = "arn:"

// geography is the shape of a geography prefix (us, eu, apac, us-gov, …): new
// ones come with new regions. It is one only where a publisher follows.
var geography = regexp.MustCompile(`^(global|apac|[a-z]{2}(-[a-z]{3,4})?)$`)

// publisherName is the shape of a publisher's token.
var publisherName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

// Publisher is who made the model: the id's first dotted token after an optional
// geography prefix. Of an ARN the part after the last slash counts. "" where the
// id does not show it (application inference profile, provisioned throughput,
// imported model).
func Publisher(modelID string) string {
	id := modelID
	if strings.HasPrefix(id, ARNPrefix) {
		id = id[strings.LastIndexByte(id, '/')+1:]
	}
	first, rest, dotted := strings.Cut(id, ".")
	if !dotted {
		return ""
	}
	if geography.MatchString(first) {
		if next, _, more := strings.Cut(rest, "."); more {
			first = next
		}
	}
	if !publisherName.MatchString(first) {
		return ""
	}
	return first
}
