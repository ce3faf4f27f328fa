package sim

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// Embeddings are InvokeModel with bodies of each maker's own. Shapes and limits: Bedrock user guide,
// Amazon Titan Embeddings G1 - Text, Cohere Embed v3, Cohere Embed v4; Nova user guide, Complete
// embeddings request and response schema. Refusals are those of a JSON schema in front of the model
// (promptfoo/promptfoo issue 921, ScrapeGraphAI/Scrapegraph-ai issue 400, alphagov/govuk-chat pull
// request 220).
type embedder struct {
	name   string
	models *regexp.Regexp // of publisher and name
	shape  check
	read   func(e *embedding, body any) *fault
	reply  func(e *embedding) object
}

// embedding is what is to be embedded, and how.
type embedding struct {
	model      model
	maker      string // the embedder's name
	texts      []string
	images     []string
	dimensions int
	types      []string
	raw        bool // not normalized
	inputs     bool // of mixed content
	truncated  bool
	tokens     int
}

var embedders = []embedder{
	{"titan v1", regexp.MustCompile(`^amazon[.]titan-embed-(text-v1|g1-text-02)`), titanV1, (*embedding).readTitan, (*embedding).titanReply},
	{"titan v2", regexp.MustCompile(`^amazon[.]titan-embed-text-v2`), titanV2, (*embedding).readTitan, (*embedding).titanReply},
	{"cohere v3", regexp.MustCompile(`^cohere[.]embed-(english|multilingual)-v3`), cohereV3, (*embedding).readCohere, (*embedding).cohereReply},
	{"cohere v4", regexp.MustCompile(`^cohere[.]embed-v4`), cohereV4, (*embedding).readCohere, (*embedding).cohereReply},
	{"nova", regexp.MustCompile(`^amazon[.]nova-2-multimodal-embeddings`), novaEmbed, (*embedding).readNova, (*embedding).novaReply},
}

// embedderOf is the one of a model, nil where it makes no embeddings.
func embedderOf(m model) *embedder {
	for i, e := range embedders {
		if e.models.MatchString(m.publisher + "." + m.name) {
			return &embedders[i]
		}
	}
	return nil
}

// embed answers an InvokeModel of a model of embeddings.
func (s *Server) embed(v *visit, who caller, m model, e *embedder, body any) *fault {
	switch {
	case v.door.api != apiInvoke:
		return invalid("This action doesn't support the model that you provided. Try again with a supported text or chat model.")
	case v.door.stream:
		return invalid("The model is unsupported for streaming.")
	}
	if f := checkInvokeHeaders(v.r.Header); f != nil {
		return f
	}
	if f := malformed(e.shape("", body)); f != nil {
		return f
	}
	asked := &embedding{model: m, maker: e.name}
	if f := e.read(asked, body); f != nil {
		return f
	}
	for _, t := range asked.texts {
		asked.tokens += tokens(t)
	}
	asked.tokens += 258 * len(asked.images) // made up: what an image costs
	a := &ask{model: m, api: apiInvoke, host: runtimeHost, region: who.Region, said: asked.texts}
	a.finish(s.calls.behaviour())
	if f := a.told(); f != nil {
		if f.kind == "ThrottlingException" && a.do["throttle"] != "" {
			v.w.Header().Set("Retry-After", a.do["throttle"])
		}
		return f
	}
	if a.misanswer(v.w, v.r) {
		return nil
	}
	v.w.Header().Set("X-Amzn-Bedrock-Invocation-Latency", fmt.Sprint(asked.tokens))
	if !a.do.has("no-usage") {
		v.w.Header().Set("X-Amzn-Bedrock-Input-Token-Count", fmt.Sprint(asked.tokens))
	}
	writeJSON(v.w, http.StatusOK, e.reply(asked))
	return nil
}

// malformed puts a fault of a shape into the words of the JSON schema in front of these models.
func malformed(f *fault) *fault {
	if f == nil {
		return nil
	}
	says := strings.TrimPrefix(f.message, f.path+": ")
	parent, name := "#", f.path
	if i := strings.LastIndexByte(f.path, '.'); i >= 0 {
		parent, name = "#/"+strings.ReplaceAll(f.path[:i], ".", "/"), f.path[i+1:]
	}
	switch says {
	case "Extra inputs are not permitted":
		says = fmt.Sprintf("%s: extraneous key [%s] is not permitted", parent, name)
	case "Field required":
		says = fmt.Sprintf("%s: required key [%s] not found", parent, name)
	default:
		says = fmt.Sprintf("#/%s: %s", strings.ReplaceAll(f.path, ".", "/"), says)
	}
	return invalid("Malformed input request: %s, please reformat your input and try again.", says)
}

// longest checks a text of so many characters at most, in that schema's words.
func longest(most int) check {
	return func(path string, v any) *fault {
		s, ok := v.(string)
		switch {
		case !ok:
			return at(path, "expected type: String, found: %s", kindOf(v))
		case len([]rune(s)) > most:
			return at(path, "expected maxLength: %d, actual: %d", most, len([]rune(s)))
		}
		return nil
	}
}

func kindOf(v any) string {
	switch v.(type) {
	case object:
		return "JSONObject"
	case []any:
		return "JSONArray"
	case bool:
		return "Boolean"
	}
	return "Integer"
}

// several checks a list of so many items at most, in that schema's words.
func several(least, most int, of check) check {
	inner := list(0, 1<<30, of)
	return func(path string, v any) *fault {
		l, ok := v.([]any)
		switch {
		case !ok:
			return at(path, "expected type: JSONArray, found: %s", strings.Replace(kindOf(v), "Integer", "String", 1))
		case len(l) < least:
			return at(path, "expected minimum item count: %d, found: %d", least, len(l))
		case len(l) > most:
			return at(path, "expected maximum item count: %d, found: %d", most, len(l))
		}
		return inner(path, v)
	}
}

// oneNumber checks a number that is one of these.
func oneNumber(values ...int64) check {
	return func(path string, v any) *fault {
		f := integer(values[0], values[len(values)-1])(path, v)
		if f != nil || !slices.Contains(values, int64(whole(v))) {
			return at(path, "%v is not a valid enum value", v)
		}
		return nil
	}
}

const (
	maxTitanTokens = 8192
	maxNovaText    = 8192
)

var (
	titanV1 = members(map[string]check{"*inputText": longest(50_000)})
	titanV2 = members(map[string]check{"*inputText": longest(50_000), "dimensions": oneNumber(256, 512, 1024), "normalize": boolean, "embeddingTypes": several(1, 2, enum("float", "binary"))})

	cohereImage = dataURL
	cohereTypes = several(1, 5, enum("float", "int8", "uint8", "binary", "ubinary"))
	cohereV3    = members(map[string]check{
		"*input_type": enum("search_document", "search_query", "classification", "clustering", "image"),
		"texts":       several(0, 96, longest(2048)), "images": several(0, 1, cohereImage), "truncate": enum("NONE", "START", "END"), "embedding_types": cohereTypes,
	})
	cohereV4 = members(map[string]check{
		"*input_type": enum("search_document", "search_query", "classification", "clustering"),
		"texts":       several(0, 96, anyText), "images": several(0, 96, cohereImage), "truncate": enum("NONE", "LEFT", "RIGHT"), "embedding_types": cohereTypes,
		"inputs": several(1, 96, members(map[string]check{"*content": several(1, 96, tagged(map[string]map[string]check{
			"text": {"*text": anyText}, "image_url": {"*image_url": imageReference},
		}))})),
		"output_dimension": oneNumber(256, 512, 1024, 1536), "max_tokens": integer(1, 128_000),
	})

	// What is long comes from S3, which the simulator does not have.
	novaEmbed = members(map[string]check{
		"schemaVersion": enum("nova-multimodal-embed-v1"), "*taskType": enum("SINGLE_EMBEDDING"),
		"*singleEmbeddingParams": members(map[string]check{
			"*embeddingPurpose":  enum("GENERIC_INDEX", "GENERIC_RETRIEVAL", "TEXT_RETRIEVAL", "IMAGE_RETRIEVAL", "VIDEO_RETRIEVAL", "DOCUMENT_RETRIEVAL", "AUDIO_RETRIEVAL", "CLASSIFICATION", "CLUSTERING"),
			"embeddingDimension": oneNumber(256, 384, 1024, 3072),
			"text":               members(map[string]check{"*truncationMode": enum("START", "END", "NONE"), "*value": anyText}),
			"image": members(map[string]check{
				"detailLevel": enum("STANDARD_IMAGE", "DOCUMENT_IMAGE"), "*format": enum("png", "jpeg", "gif", "webp"), "*source": union(map[string]check{"bytes": blob(25_000_000)}),
			}),
		}),
	})
)

// imageReference is a data URL, by itself or in an object.
func imageReference(path string, v any) *fault {
	if o, ok := v.(object); ok {
		return members(map[string]check{"*url": dataURL})(path, o)
	}
	return dataURL(path, v)
}
