package bedrock

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/extproc/embeddings"
	"aisix/extproc/fault"
	"aisix/extproc/identity"
)

// embedIDs are ids of models of embeddings as AWS's pages list them.
var embedIDs = []string{
	"amazon.titan-embed-text-v1", "amazon.titan-embed-text-v1:2:8k", "amazon.titan-embed-g1-text-02", "amazon.titan-embed-text-v2:0", "amazon.titan-embed-text-v2:0:8k", "amazon.titan-embed-image-v1", "amazon.titan-embed-image-v1:0",
	"cohere.embed-english-v3", "cohere.embed-english-v3:0:512", "cohere.embed-multilingual-v3", "cohere.embed-v4:0", "us.cohere.embed-v4:0", "global.cohere.embed-v4:0", "amazon.nova-2-multimodal-embeddings-v1:0",
	"arn:aws:bedrock:us-east-1::foundation-model/cohere.embed-english-v3",
}

// Every row is of a real model, has a body that is known, and its dimensions fit; no model that
// converses is in them.
func TestEmbedders(t *testing.T) {
	for _, row := range embedderRows {
		for _, pattern := range row.match {
			if !slices.ContainsFunc(embedIDs, func(id string) bool { ok, _ := path.Match(pattern, baseID(id, resource.Publisher(id))); return ok }) {
				t.Errorf("%s matches none", pattern)
			}
		}
	}
	for _, id := range embedIDs {
		e := target(id).embedder
		if e == nil {
			t.Fatalf("nothing is known of %s", id)
		}
		b, known := embedBodies[e.Body]
		if !known || e.Batch < 1 || len(e.Dimensions) == 0 || !slices.IsSortedFunc(e.Dimensions, func(a, b int) int { return b - a }) || (e.InputTypes != nil) != (b.inputType != nil) || e.OneSize && len(e.Dimensions) != 1 {
			t.Errorf("%s: %+v", id, e)
		}
	}
	for _, id := range realIDs {
		if target(id).embedder != nil {
			t.Errorf("%s makes embeddings", id)
		}
	}
	if v1 := target("amazon.titan-embed-text-v1").embedder; !slices.Equal(v1.Dimensions, []int{1536}) || v1.Body != "titan" {
		t.Errorf("%+v", v1)
	}
}

func embedCalls(t *testing.T, id string, r *embeddings.Request) []*Call {
	t.Helper()
	calls, err := EmbedCalls(r, target(id))
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// Texts are split as the model takes them, in order, and none is lost or said twice.
func TestBatches(t *testing.T) {
	for _, test := range []struct {
		id           string
		texts, calls int
	}{
		{"amazon.titan-embed-text-v2:0", 1, 1}, {"amazon.titan-embed-text-v2:0", 7, 7}, {"cohere.embed-english-v3", 96, 1}, {"cohere.embed-english-v3", 97, 2}, {"cohere.embed-v4:0", 2048, 22},
	} {
		r := &embeddings.Request{Listed: true}
		for i := range test.texts {
			r.Texts = append(r.Texts, strings.Repeat("x", i%5+1)+string(rune('a'+i%26)))
		}
		calls := embedCalls(t, test.id, r)
		var said []string
		for _, c := range calls {
			var body struct {
				Text  string   `json:"inputText"`
				Texts []string `json:"texts"`
			}
			if err := json.Unmarshal(c.body, &body); err != nil {
				t.Fatal(err)
			}
			if body.Texts == nil {
				body.Texts = []string{body.Text}
			}
			if c.embeds.texts != len(body.Texts) {
				t.Errorf("%d texts are expected of %d", c.embeds.texts, len(body.Texts))
			}
			said = append(said, body.Texts...)
		}
		if len(calls) != test.calls || !slices.Equal(said, r.Texts) {
			t.Errorf("%+v: %d calls, %d texts", test, len(calls), len(said))
		}
	}
}

// The operator's fields stay as they are, however many calls are made of them.
func TestBodiesShareNothing(t *testing.T) {
	m := target("amazon.nova-2-multimodal-embeddings-v1:0")
	m.additional = map[string]json.RawMessage{"singleEmbeddingParams": json.RawMessage(`{"embeddingPurpose":"CLUSTERING"}`)}
	for _, purpose := range []string{"search_query", "", "classification", ""} {
		calls, err := EmbedCalls(&embeddings.Request{Texts: []string{"a"}, InputType: purpose}, m)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"": "CLUSTERING", "search_query": "TEXT_RETRIEVAL", "classification": "CLASSIFICATION"}[purpose]
		if !strings.Contains(string(calls[0].body), `"embeddingPurpose":"`+want+`"`) {
			t.Errorf("%q: %s", purpose, calls[0].body)
		}
	}
}

func embedReply(t testing.TB, c *Call, header http.Header) *Reply {
	signed, err := c.Sign(identity.Token{AccessKeyID: "AKIDEXAMPLE"}, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	header.Set("Content-Type", "application/json")
	return signed.Reply(200, header)
}

// FuzzVectors: no answer makes us panic; what is accepted has a finite vector for each text.
func FuzzVectors(f *testing.F) {
	for _, body := range []string{
		`{"embedding":[0.5,-1e-7],"inputTextTokenCount":3}`, `{"embeddingsByType":{"float":[1]}}`, `{"embeddings":[[1,2],[3,4]],"texts":["a","b"]}`, `{"embeddings":{"float":[[1],[2]]}}`,
		`{"embeddings":[{"embeddingType":"TEXT","embedding":[1,2]}]}`, `{"embedding":[1,null]}`, `{"embedding":[ ]}`, `{"embedding":[1e99]}`, `{"embeddings":null}`, `{"embeddings":{}}`, `{"embeddings":[null]}`,
	} {
		f.Add([]byte(body))
	}
	ids := []string{"amazon.titan-embed-text-v2:0", "cohere.embed-v4:0", "amazon.nova-2-multimodal-embeddings-v1:0"}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, id := range ids {
			r := &embeddings.Request{Texts: []string{"some text"}}
			if id == ids[1] {
				r.Texts = append(r.Texts, "another")
			}
			calls, err := EmbedCalls(r, target(id))
			if err != nil {
				t.Fatal(err)
			}
			vectors, tokens, err := embedReply(t, calls[0], http.Header{}).Embeddings(body)
			var fault *fault.Error
			switch {
			case err != nil && !errors.As(err, &fault):
				t.Errorf("%v", err)
			case err == nil && (len(vectors) != len(r.Texts) || tokens < 0):
				t.Errorf("%d vectors, %d tokens of %s", len(vectors), tokens, body)
			}
			for _, v := range vectors {
				if len(v) == 0 {
					t.Errorf("an empty vector of %s", body)
				}
				for _, x := range v {
					if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
						t.Errorf("%v of %s", x, body)
					}
				}
			}
		}
	})
}

// Tokens are the body's, else the header's, else an estimate that says so.
func TestTokensOfEmbeddings(t *testing.T) {
	for _, test := range []struct {
		body, header string
		want, notes  int
	}{
		{`{"embedding":[1],"inputTextTokenCount":3}`, "9", 3, 0},
		{`{"embedding":[1]}`, "9", 9, 0},
		{`{"embedding":[1]}`, "many", 3, 1},
		{`{"embedding":[1],"inputTextTokenCount":-1}`, "", 3, 1},
	} {
		c := embedCalls(t, "amazon.titan-embed-text-v2:0", &embeddings.Request{Texts: []string{"nine bytes"}})[0]
		r := embedReply(t, c, http.Header{"X-Amzn-Bedrock-Input-Token-Count": {test.header}})
		if _, tokens, err := r.Embeddings([]byte(test.body)); err != nil || tokens != test.want || len(r.Notes()) != test.notes {
			t.Errorf("%+v: %d, %q, %v", test, tokens, r.Notes(), err)
		}
	}
}

// AWS's words are passed on without its identifiers, and what they quote of the texts is not
// logged, after Forget too.
func TestFaultsOfEmbeddings(t *testing.T) {
	const text = "the caller's own words, a good many of them"
	c := embedCalls(t, "cohere.embed-english-v3", &embeddings.Request{Texts: []string{text}})[0]
	signed, err := c.Sign(identity.Token{AccessKeyID: "AKIDEXAMPLE"}, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	c.Forget()
	r := signed.Reply(400, http.Header{"X-Amzn-Errortype": {"ValidationException"}})
	f := r.Fault([]byte(`{"message":"arn:aws:bedrock:us-west-2:123456789012:x refuses: ` + text + `"}`))
	if f.Status != 400 || strings.Contains(f.Message, "123456789012") || strings.Contains(f.Err.Error(), text) {
		t.Errorf("%v", f)
	}
}
