package sim

import "net/http"

// serveBody serves the doors whose model is in the body.
func (s *Server) serveBody(v *visit, who caller, body []byte) *fault {
	if v.door.api == apiStored {
		return s.serveStored(v)
	}
	parsed, f := parsedJSON(v.r.Header, body)
	if f != nil {
		return f
	}
	id, ok := child(parsed, "model").(string)
	switch {
	case child(parsed, "model") == nil:
		return at("model", "Field required")
	case !ok:
		return at("model", "Input should be a valid string")
	}
	m, host, f := resolveBody(v.door, prefix(v.r), v.host, id, who.Region)
	if host != v.host {
		v.w.Header().Del("X-Amzn-Requestid")
		v.name(host)
	}
	s.calls.change(func() { v.call.Model, v.call.Host = id, host })
	if f != nil {
		return f
	}
	var a *ask
	switch v.door.api {
	case apiCountClaude:
		return v.countClaude(m, parsed)
	case apiMessages:
		if a, f = checkNative(m, v.r.Header, parsed, false, &s.issued); f == nil {
			a.cache, a.input = s.cache.use(m.id, claudePrompt(parsed))
		}
	case apiChat:
		if f = v.guarded(); f == nil {
			a, f = s.readChat(m, v.host, parsed)
		}
	default:
		if f = v.guarded(); f == nil {
			a, f = s.readResponses(m, parsed)
		}
	}
	if f != nil {
		return f
	}
	return s.say(v, who, a)
}

// guarded checks the headers that the runtime host's OpenAI paths have in common with InvokeModel.
// Guardrails are for Chat Completions, and neither for Responses nor for mantle: Bedrock user guide,
// Endpoints supported by Amazon Bedrock. What is said of them there is made up.
func (v *visit) guarded() *fault {
	guardrail := v.r.Header.Get("X-Amzn-Bedrock-Guardrailidentifier") != ""
	if guardrail && (v.host == mantleHost || v.door.api == apiResponses) {
		return &fault{status: http.StatusBadRequest, kind: "ValidationException", message: "Guardrails are not supported by this API."}
	}
	if v.host == mantleHost {
		return nil
	}
	return checkInvokeHeaders(v.r.Header)
}
