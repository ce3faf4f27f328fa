package strict

import (
	"errors"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// List is an array of at most MaxItems, with no null among them. Items that are
// Checkers are checked.
type List[T any] []T

func (l *List[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	switch dec.PeekKind() {
	case 'n':
		*l = nil
		return dec.SkipValue()
	case '[':
	default:
		return Mismatch(dec, "an array")
	}
	_, err := dec.ReadToken()
	if err != nil {
		return err
	}
	list := List[T]{}
	for dec.PeekKind() != ']' {
		switch {
		case len(list) == MaxItems:
			return Errorf("", "must have at most %d items", MaxItems)
		case dec.PeekKind() == 'n':
			if err := dec.SkipValue(); err != nil {
				return err
			}
			return &json.SemanticError{JSONPointer: dec.StackPointer(), Err: Errorf("", "must not be null")}
		}
		if len(list) == cap(list) {
			list = slices.Grow(list, 4)
		}
		list = list[:len(list)+1]
		item := any(&list[len(list)-1])
		if c, ok := item.(Checker); ok {
			err = checked(dec, item, c)
		} else {
			err = json.UnmarshalDecode(dec, item)
		}
		if err != nil {
			return err
		}
	}
	_, err = dec.ReadToken()
	*l = list
	return err
}

// Object reads an object, or null, into members, and checks c, which is the same
// struct. It is what a Checker that is no item of a List has as UnmarshalJSONFrom:
//
//	type members thing // without its methods
//	return strict.Object(dec, (*members)(t), t)
func Object(dec *jsontext.Decoder, members any, c Checker) error {
	if dec.PeekKind() == 'n' {
		return dec.SkipValue()
	}
	return checked(dec, members, c)
}

func checked(dec *jsontext.Decoder, members any, c Checker) error {
	depth := dec.StackDepth()
	err := json.UnmarshalDecode(dec, members)
	if err == nil {
		if own := c.Check(); own != nil {
			return &json.SemanticError{JSONPointer: dec.StackPointer(), Err: own}
		}
		return nil
	}
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		if own := c.Check(); own != nil && own.kind == variant {
			return &json.SemanticError{JSONPointer: upTo(semantic.JSONPointer, depth), Err: own}
		}
	}
	return err
}

// upTo is a pointer's first tokens.
func upTo(p jsontext.Pointer, tokens int) jsontext.Pointer {
	for i := range p {
		if p[i] == '/' {
			if tokens == 0 {
				return p[:i]
			}
			tokens--
		}
	}
	return p
}
