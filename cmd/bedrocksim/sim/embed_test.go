package sim

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"testing"
)

const (
	titan1   = "amazon.titan-embed-text-v1"
	titan2   = "amazon.titan-embed-text-v2:0"
	cohere3  = "cohere.embed-english-v3"
	cohere4  = "cohere.embed-v4:0"
	novaVecs = "amazon.nova-2-multimodal-embeddings-v1:0"
)

func embedded(t *testing.T, r *http.Response) object {
	t.Helper()
	body := bodyOf(t, r)
	var o object
	if err := json.Unmarshal([]byte(body), &o); err != nil || r.StatusCode != 200 {
		t.Fatalf("%s: %v: %.300s", r.Status, err, body)
	}
	return o
}

// length is that of a vector, and how many numbers it has.
func length(t *testing.T, v any) (float64, int) {
	t.Helper()
	sum := 0.0
	l, ok := v.([]any)
	if !ok {
		t.Fatalf("%v is no vector", v)
	}
	for _, x := range l {
		sum += x.(float64) * x.(float64)
	}
	return math.Sqrt(sum), len(l)
}

func TestEmbeddings(t *testing.T) {
	s := start(t)
	for _, c := range []struct {
		name, model, body string
		where             func(object) any
		dimensions        int
		tokens            string
	}{
		{"titan 1", titan1, `{"inputText":"hello there"}`, func(o object) any { return o["embedding"] }, 1536, "3"},
		{"titan 2", titan2, `{"inputText":"hello there"}`, func(o object) any { return o["embedding"] }, 1024, "3"},
		{"titan 2, small", titan2, `{"inputText":"hello there","dimensions":256,"normalize":true,"embeddingTypes":["float","binary"]}`, func(o object) any { return child(o, "embeddingsByType", "float") }, 256, "3"},
		{"cohere 3", cohere3, `{"texts":["a","b"],"input_type":"search_query","truncate":"END"}`, func(o object) any { return items(o, "embeddings")[1] }, 1024, "2"},
		{"cohere 4", cohere4, `{"texts":["a"],"input_type":"search_document","output_dimension":512}`, func(o object) any { return items(o, "embeddings")[0] }, 512, "1"},
		{"cohere 4, by type", cohere4, `{"texts":["a"],"input_type":"search_document","embedding_types":["float","int8","ubinary"]}`, func(o object) any { return items(o, "embeddings", "float")[0] }, 1536, "1"},
		{"cohere 4, mixed", cohere4, `{"inputs":[{"content":[{"type":"text","text":"a"},{"type":"image_url","image_url":"data:image/png;base64,iVBORw0KGgo="}]}],"input_type":"search_document"}`, func(o object) any { return items(o, "embeddings")[0] }, 1536, "25"},
		{"nova", novaVecs, `{"schemaVersion":"nova-multimodal-embed-v1","taskType":"SINGLE_EMBEDDING","singleEmbeddingParams":{"embeddingPurpose":"GENERIC_INDEX","embeddingDimension":384,"text":{"truncationMode":"END","value":"hello"}}}`, func(o object) any { return child(items(o, "embeddings")[0], "embedding") }, 384, "2"},
	} {
		r := s.post(t, c.model, "invoke", []byte(c.body))
		tokens := r.Header.Get("X-Amzn-Bedrock-Input-Token-Count")
		first := c.where(embedded(t, r))
		if l, n := length(t, first); n != c.dimensions || math.Abs(l-1) > 1e-4 || tokens != c.tokens {
			t.Errorf("%s: %d numbers, length %v, %s tokens", c.name, n, l, tokens)
		}
		if again := c.where(embedded(t, s.post(t, c.model, "invoke", []byte(c.body)))); compact(again) != compact(first) {
			t.Errorf("%s: another vector the second time", c.name)
		}
	}
	o := embedded(t, s.post(t, titan1, "invoke", []byte(`{"inputText":"hello there"}`)))
	if len(o) != 2 || o["inputTextTokenCount"] != 3.0 {
		t.Errorf("titan 1: %v", o["inputTextTokenCount"])
	}
	o = embedded(t, s.post(t, cohere4, "invoke", []byte(`{"texts":["a"],"input_type":"search_document","embedding_types":["int8","ubinary"]}`)))
	if o["response_type"] != "embeddings_by_type" || len(items(o, "embeddings", "ubinary")[0].([]any)) != 1536/8 {
		t.Errorf("cohere 4: %v", o["response_type"])
	}
}

func TestEmbeddingsRefuse(t *testing.T) {
	s := start(t)
	texts := strings.Repeat(`"x",`, 97)
	for _, c := range []struct{ model, body, want string }{
		{titan1, `{"inputText":"x","dimensions":256}`, "Malformed input request: #: extraneous key [dimensions] is not permitted, please reformat your input and try again."},
		{titan1, `{}`, "#: required key [inputText] not found"},
		{titan1, `{"inputText":""}`, "expected minLength: 1"},
		{titan1, `{"inputText":["x"]}`, "#/inputText: expected type: String, found: JSONArray"},
		{titan1, `{"inputText":"` + strings.Repeat("x", 50_001) + `"}`, "#/inputText: expected maxLength: 50000, actual: 50001"},
		{titan1, `{"inputText":"` + strings.Repeat("x", 40_000) + `"}`, "Too many input tokens. Max input tokens: 8192, request input token count: 10000"},
		{titan2, `{"inputText":"x","dimensions":300}`, "#/dimensions: 300 is not a valid enum value"},
		{cohere3, `{"inputText":"x"}`, "#: required key [input_type] not found"},
		{cohere3, `{"input_type":"search_query"}`, "#: required key [texts] not found"},
		{cohere3, `{"input_type":"search_query","texts":[` + strings.TrimSuffix(texts, ",") + `]}`, "#/texts: expected maximum item count: 96, found: 97"},
		{cohere3, `{"input_type":"search_query","texts":["` + strings.Repeat("x", 2049) + `"]}`, "#/texts/0: expected maxLength: 2048, actual: 2049"},
		{cohere3, `{"input_type":"search_query","texts":["x"],"output_dimension":256}`, "extraneous key [output_dimension]"},
		{cohere3, `{"input_type":"search_query","texts":["x"],"truncate":"LEFT"}`, "#/truncate"},
		{cohere4, `{"input_type":"search_query","texts":["x"],"truncate":"END"}`, "#/truncate"},
		{cohere4, `{"input_type":"search_query","texts":["x"],"images":["data:image/png;base64,iVBORw0KGgo="]}`, "only one of"},
		{novaVecs, `{"taskType":"SINGLE_EMBEDDING","singleEmbeddingParams":{"embeddingPurpose":"GENERIC_INDEX"}}`, "exactly one of text, image"},
		{novaVecs, `{"taskType":"SINGLE_EMBEDDING","singleEmbeddingParams":{"embeddingPurpose":"GENERIC_INDEX","text":{"value":"x"}}}`, "#/singleEmbeddingParams/text: required key [truncationMode] not found"},
		{novaVecs, `{"taskType":"SINGLE_EMBEDDING","singleEmbeddingParams":{"embeddingPurpose":"GENERIC_INDEX","text":{"value":"` + strings.Repeat("x", 8193) + `","truncationMode":"NONE"}}}`, "expected maxLength: 8192, actual: 8193"},
		{titan2, `{"inputText":"sim:invalid"}`, "is not valid"},
	} {
		if kind, message := refused(t, s.post(t, c.model, "invoke", []byte(c.body))); kind != "ValidationException" || !strings.Contains(message, c.want) {
			t.Errorf("%s %.60s: %s %s", c.model, c.body, kind, message)
		}
	}
	if _, message := refused(t, s.post(t, titan2, "invoke-with-response-stream", []byte(`{"inputText":"x"}`))); !strings.Contains(message, "unsupported for streaming") {
		t.Error(message)
	}
	if _, message := refused(t, s.post(t, titan2, "converse", []byte(`{"messages":[]}`))); !strings.Contains(message, "doesn't support the model that you provided") {
		t.Error(message)
	}
}
