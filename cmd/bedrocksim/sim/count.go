package sim

import (
	"net/http"
	"regexp"
)

// maxCounted is the most that CountTokens counts, whatever the model holds: boto/botocore issue 3707.
const maxCounted = 200_000

// countTokens answers the runtime host's CountTokens (API_runtime_CountTokens). A model that is not
// counted, and one behind a profile's prefix, gets the words of agentgateway pull request 3254.
func (v *visit) countTokens(m model, body any) *fault {
	if f := countShape("", body); f != nil {
		return f
	}
	if m.publisher+"."+m.name != m.id || !counted.MatchString(m.id) {
		return invalid("The provided model doesn't support counting tokens.")
	}
	prompt, f := countedPrompt(m, body)
	if f != nil {
		return f
	}
	total := 0
	for _, p := range prompt {
		total += tokens(p.text)
	}
	if total > maxCounted {
		return invalid("prompt is too long: %d tokens > %d maximum", total, maxCounted)
	}
	writeJSON(v.w, http.StatusOK, object{"inputTokens": total})
	return nil
}

// countedPrompt checks the body inside, as its own operation would, and cuts it up as caching does: what
// is counted here is what an answer says of its input.
func countedPrompt(m model, body any) ([]piece, *fault) {
	if c := child(body, "input", "converse"); c != nil {
		if _, f := checkConverse(m, c, false, nil); f != nil {
			return nil, f
		}
		return conversePrompt(c, false), nil
	}
	inner, err := parse(bytesOf(body, "input", "invokeModel", "body"))
	if err != nil {
		return nil, invalid("The request body is not valid JSON: %v", err)
	}
	if _, f := checkMessages(m, inner, nil); f != nil {
		return nil, f
	}
	return claudePrompt(inner), nil
}

// countClaude answers mantle's count_tokens.
func (v *visit) countClaude(m model, body any) *fault {
	if _, f := checkNative(m, v.r.Header, body, true, nil); f != nil {
		return f
	}
	total := 0
	for _, p := range claudePrompt(body) {
		total += tokens(p.text)
	}
	writeJSON(v.w, http.StatusOK, object{"input_tokens": total})
	return nil
}

var countShape = members(map[string]check{"*input": union(map[string]check{
	"invokeModel": members(map[string]check{"*body": blob(maxBody)}),
	"converse":    freeObject, // its own check follows
})})

// counted are the models that CountTokens knows, by their plain ids: Bedrock user guide, Count tokens;
// BerriAI/litellm pull request 37185 on those after Claude 4.
var counted = regexp.MustCompile(`^anthropic[.]claude-(3-5|3-7|(sonnet|opus|haiku)-4)`)
