package openai

import (
	"reflect"
	"strings"

	"aisix/extproc/chat"
)

// parameters are the members that a request may have.
var parameters = func() map[string]*reflect.StructField {
	all := map[string]*reflect.StructField{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[chatRequest]()) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			all[name] = &f
		}
	}
	return all
}()

// Decode is Parse and Request in one, without the body itself, which other tests are about.
func (c Chat) Decode(body []byte) (*chat.Request, error) {
	b, err := c.Parse(nil, body)
	if err != nil {
		return nil, err
	}
	r, err := b.Request(nil)
	if err == nil {
		r.Came = nil
	}
	return r, err
}
