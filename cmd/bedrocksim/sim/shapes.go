package sim

// An answer goes out in the shape of the API that was asked, whole or streamed.

// whole is the answer in one piece.
func (a *ask) whole(out answer) object {
	switch a.api {
	case apiInvoke:
		return a.messages(out)
	case apiMessages:
		return a.native(out)
	case apiChat:
		return a.completion(out)
	case apiResponses:
		return a.response(out)
	default:
		return a.converse(out)
	}
}

// frames is what a stream is made of: AWS's frames, or server-sent events.
func (a *ask) frames(out answer) [][]byte {
	switch a.api {
	case apiInvoke:
		return a.messagesStream(out)
	case apiMessages:
		return a.nativeStream(out)
	case apiChat:
		return a.completionStream(out)
	case apiResponses:
		return a.responseStream(out)
	default:
		return a.converseStream(out)
	}
}

// streamMedia is the content type of a stream.
func (a *ask) streamMedia() string {
	switch a.api {
	case apiConverse, apiInvoke:
		return "application/vnd.amazon.eventstream"
	case apiMessages:
		return "text/event-stream; charset=utf-8"
	default:
		return "text/event-stream"
	}
}

func (a *ask) hostname() string {
	if a.host == mantleHost {
		return "bedrock-mantle." + a.region + ".api.aws"
	}
	return "bedrock-runtime." + a.region + ".amazonaws.com"
}

// sse is one server-sent event; its name is left out where the API has none.
func sse(name string, data object) []byte {
	event := append([]byte("data: "), wire(data)...)
	if name != "" {
		event = append([]byte("event: "+name+"\n"), event...)
	}
	return append(event, "\n\n"...)
}

// misevent is what a stream of server-sent events ends with that is told to go wrong.
func (a *ask) misevent(ending string, sent int) []byte {
	f := &fault{status: 529, kind: "ServiceUnavailableException", message: "Overloaded"}
	if a.api != apiMessages {
		// Codex ends a session at server_is_overloaded, and tries again at what it does not know.
		f = &fault{status: 500, kind: "InternalServerException", message: "The server had an error while processing your request. Sorry about that!"}
	}
	switch ending {
	case "exception":
		f = exception(or(a.do["exception"], "throttlingException"), a.region, a.model.id)
	case "error-frame":
		f = &fault{status: 500, kind: "InternalServerException", message: lostWorker}
	case "crc": // no checksums here: an event that is no JSON
		return []byte("data: {\"type\":\"garb\n\n")
	case "break-frame":
		event := a.ping()
		return event[:len(event)/2]
	}
	return a.errorEvent(f, sent)
}

// ping is an event that says nothing.
func (a *ask) ping() []byte {
	if a.api == apiMessages {
		return sse("ping", object{"type": "ping"})
	}
	return []byte(": ping, and no more than that\n\n")
}

// errorEvent is how a stream tells of a fault once it is under way.
func (a *ask) errorEvent(f *fault, sent int) []byte {
	switch a.api {
	case apiMessages:
		return sse("error", f.claudeBody(a.requestID))
	case apiResponses:
		return a.failedEvent(f, sent)
	default:
		return sse("", object{"error": f.openaiError()})
	}
}
