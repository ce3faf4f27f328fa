package openai

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"

	"aisix/extproc/embeddings"
	"aisix/extproc/fault"
)

// parsed is the request of a body, or why there is none.
func parsed(body string, ignore ...string) (embeddings.Asked, *embeddings.Request, error) {
	a, err := Embeddings{}.Parse(nil, []byte(body))
	if err != nil {
		return nil, nil, err
	}
	r, err := a.Request(ignore)
	return a, r, err
}

func TestInputs(t *testing.T) {
	for body, want := range map[string]embeddings.Request{
		`"a"`:              {Texts: []string{"a"}},
		`["a"]`:            {Texts: []string{"a"}, Listed: true},
		`["a","\u00e9\n"]`: {Texts: []string{"a", "é\n"}, Listed: true},
		`[1,2,3]`:          {Tokens: 1},
		`[[1],[2,3]]`:      {Tokens: 2, Listed: true},
	} {
		if _, r, err := parsed(`{"model":"m","input":` + body + `}`); err != nil || !slices.Equal(r.Texts, want.Texts) || r.Tokens != want.Tokens || r.Listed != want.Listed {
			t.Errorf("%s: %+v %v", body, r, err)
		}
	}
	for body, param := range map[string]string{
		`["a",["b"]]`: "input[1]", `[1,"a"]`: "input[1]", `[[1],2]`: "input[1]", `[[1,"a"]]`: "input[0][1]", `[[[1]]]`: "input[0][0]", `[[1.5]]`: "input[0][0]", `[1e3]`: "input[0]", `[true]`: "input[0]", `7`: "input", `null`: "input", `[]`: "input",
	} {
		var f *fault.Error
		if _, _, err := parsed(`{"model":"m","input":` + body + `}`); !errors.As(err, &f) || f.Status != 400 || f.Param != param {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// What is to be embedded is never taken as absent; all else may be.
func TestIgnoredOfEmbeddings(t *testing.T) {
	_, r, err := parsed(`{"model":"m","input":["a"],"dimensions":7,"x":1,"input_type":"search_query"}`, "input", "input.x", "dimensions", "x")
	if err != nil || len(r.Texts) != 1 || r.Dimensions != 0 || r.InputType != "search_query" {
		t.Errorf("%+v %v", r, err)
	}
}

// Both forms of an answer hold the same numbers, to the bit, and no more bytes than was said.
func TestForms(t *testing.T) {
	want := [][]float32{{1, -0.5, 0, 1e-7, 0.1, float32(math.Copysign(0, -1)), math.MaxFloat32, math.SmallestNonzeroFloat32, 0.123456789, -1.17549435e-38}, {3, 4}}
	answer := &embeddings.Answer{Vectors: want, Tokens: 9}
	for _, form := range []string{"float", "base64"} {
		a, _, err := parsed(`{"model":"an \"alias\"","input":"x","encoding_format":"` + form + `"}`)
		if err != nil {
			t.Fatal(err)
		}
		body, err := a.Answer(answer)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Model string
			Data  []struct{ Embedding json.RawMessage }
			Usage map[string]int
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if got.Model != `an "alias"` || got.Usage["prompt_tokens"] != 9 || got.Usage["total_tokens"] != 9 || len(got.Data) != 2 {
			t.Errorf("%s", body)
		}
		for i, d := range got.Data {
			if form == "base64" {
				var packed []byte
				if err := json.Unmarshal(d.Embedding, &packed); err != nil {
					t.Fatal(err)
				}
				if len(packed) != 4*len(want[i]) || packed[3] != byte(math.Float32bits(want[i][0])>>24) {
					t.Errorf("%s", base64.StdEncoding.EncodeToString(packed))
				}
				continue
			}
			var v []float32
			if err := json.Unmarshal(d.Embedding, &v); err != nil {
				t.Fatal(err)
			}
			for j := range v {
				if math.Float32bits(v[j]) != math.Float32bits(want[i][j]) {
					t.Errorf("%v is %v", want[i][j], v[j])
				}
			}
			if most := a.Most(len(v)); int64(len(d.Embedding)) > most+2 {
				t.Errorf("%d numbers have %d bytes, more than %d", len(v), len(d.Embedding), most)
			}
		}
	}
}

// FuzzEmbeddings: what is refused is a 400; what is accepted has inputs, all of one kind, none
// empty.
func FuzzEmbeddings(f *testing.F) {
	for _, body := range []string{`"a"`, `["a","b"]`, `[1,2]`, `[[1],[2]]`, `[""]`, `[[]]`, `{}`, `["a",1]`} {
		f.Add([]byte(`{"model":"m","input":` + body + `,"dimensions":256,"encoding_format":"base64","user":"u","input_type":"clustering"}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := Embeddings{}.Parse(nil, body)
		if err != nil {
			want400(t, err)
			return
		}
		r, err := a.Request([]string{"x"})
		if err != nil {
			want400(t, err)
			return
		}
		if (len(r.Texts) == 0) == (r.Tokens == 0) || slices.Contains(r.Texts, "") || len(r.Texts) > embeddings.MaxInputs || a.Model() == "" || r.Dimensions < 0 {
			t.Errorf("%+v of %s", r, body)
		}
	})
}
