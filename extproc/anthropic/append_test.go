package anthropic

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"aisix/extproc/chat"
)

// fill sets v to anything that its type can be: whoever adds a member to the wire's
// structs has it here.
func fill(r *rand.Rand, v reflect.Value, depth int) {
	words := []string{"", "a", "say <this> & that\n", "\"\\\b\f\x01", "ä\u2028\u2029\xff\U0001f600", strings.Repeat("long text ", 20)}
	switch v.Type() {
	case reflect.TypeFor[json.RawMessage]():
		v.SetBytes([]byte([]string{`{}`, "{ \"a\" : [1 , 2.50,\n\"\\\" <x>\u2028\"] }", `null`, `"x y"`}[r.IntN(4)]))
		if r.IntN(3) == 0 {
			v.SetZero()
		}
		return
	case reflect.TypeFor[any](): // a source's data
		v.Set(reflect.ValueOf([]any{"text", []byte{}, []byte("\x89PNG"), []byte("ab"), "", encoded("iVBORw==")}[r.IntN(6)]))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(words[r.IntN(len(words))])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int:
		v.SetInt(r.Int64N(1<<40) - 1<<20)
	case reflect.Float64:
		v.SetFloat([]float64{0, 1, 0.7, 1e-7, 3e22, r.Float64()}[r.IntN(6)])
	case reflect.Pointer:
		if r.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem(), depth)
		}
	case reflect.Slice:
		if n := r.IntN(4); n > 0 && depth < 4 {
			v.Set(reflect.MakeSlice(v.Type(), n-1, n))
			for i := range v.Len() {
				fill(r, v.Index(i), depth+1)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i), depth)
		}
	default:
		panic(v.Type())
	}
}

// MarshalText is what encoding/json is to write of it.
func (e encoded) MarshalText() ([]byte, error) { return e, nil }

func TestAppend(t *testing.T) {
	for seed := range uint64(3000) {
		var r request
		fill(rand.New(rand.NewPCG(seed, 5)), reflect.ValueOf(&r).Elem(), 0)
		want, err := unescaped(&r)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.append(nil); string(got) != string(want) {
			t.Fatalf("seed %d\n got %s\nwant %s", seed, got, want)
		}
	}
}

// What is set aside for a body is enough for ordinary ones, images too, so that none is
// copied while it grows.
func TestRoom(t *testing.T) {
	image := chat.Image{Format: "png", Data: make([]byte, 1<<20)}
	for name, blocks := range map[string][]chat.Block{
		"text":   {chat.Text{Text: strings.Repeat("What is the weather like?\n", 1000)}},
		"images": {chat.Text{Text: "these"}, image, image},
		"result": {chat.ToolResult{ID: "t1", Blocks: []chat.Block{image}}},
		"pdf":    {chat.Document{Name: "a.pdf", Format: "pdf", Data: make([]byte, 1<<20)}},
	} {
		req := &chat.Request{Messages: []chat.Message{{Role: chat.User, Blocks: blocks}}}
		body, err := EncodeRequest(req, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if set := req.Room(); len(body) > set || len(body) < set/2 {
			t.Errorf("%s: %d bytes were set aside for %d", name, set, len(body))
		}
	}
}
