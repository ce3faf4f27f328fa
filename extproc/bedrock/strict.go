package bedrock

import (
	"errors"
	"fmt"

	"aisix/extproc/bedrock/schema"
)

// defaultLimits are Bedrock's bounds on strict schemas, where the family's row says
// none: a model resource gave it strict tools, or native structured output.
var defaultLimits = strictLimits{Tools: 20, Optional: 24, Unions: 16}

func (p *prepared) strictLimits() strictLimits {
	if l := p.family.StrictLimits; l != (strictLimits{}) {
		return l
	}
	return defaultLimits
}

// errBeyond is a schema that is more than the limits allow.
type errBeyond string

func (e errBeyond) Error() string { return string(e) }

// beyond reports whether there is more than the limits allow, and of what.
func (l strictLimits) beyond(tools int, c schema.Closed) (string, bool) {
	for _, x := range []struct {
		n, most int
		what    string
	}{{tools, l.Tools, "strict tools"}, {c.Optional, l.Optional, "optional properties"}, {c.Unions, l.Unions, "unions"}} {
		if x.most > 0 && x.n > x.most {
			return fmt.Sprintf("%d %s, of %d that Bedrock allows", x.n, x.what, x.most), true
		}
	}
	return "", false
}

// strictTools gives strict tools the schemas of constrained decoding. Strict is best
// effort: a schema without a native form is taken as it is. Bedrock bounds the strict
// schemas of a request together, that of structured output with them; where they are
// more, no tool is strict.
func (p *prepared) strictTools() error {
	var all schema.Closed
	if p.format != nil {
		all = p.closed
	}
	native := map[int]schema.Closed{}
	loose := 0
	for i, t := range p.req.Tools {
		if !t.Strict {
			continue
		}
		c, err := schema.Native(t.Schema)
		switch {
		case errors.Is(err, schema.ErrNotNative):
			p.req.Tools[i].Strict = false
			loose++
		case err != nil:
			return schemaFault(t, err)
		default:
			native[i] = c
			all.Optional += c.Optional
			all.Unions += c.Unions
		}
	}
	if loose > 0 {
		p.notes = append(p.notes, fmt.Sprintf("%d strict tools are not strict: their schemas leave something open, or have what Bedrock's constrained decoding does not take", loose))
	}
	why, beyond := p.strictLimits().beyond(len(native), all)
	if beyond && len(native) > 0 {
		p.notes = append(p.notes, "no tool is strict: the request has "+why)
	}
	for i, c := range native {
		if p.req.Tools[i].Strict = !beyond; !beyond {
			p.req.Tools[i].Schema = c.Schema
		}
	}
	return nil
}
