package routing

import (
	"hash/fnv"
	"io"

	"aisix/extproc/jsonedit"
)

// Header is the header of a request; names are in any case.
type Header interface{ Get(name string) string }

// sessions are the headers in which agents say which of their conversations a request is of.
var sessions = []string{"x-claude-code-session-id", "session-id", "session_id", "thread-id", "x-session-affinity"}

// Conversation tells conversations apart, alike for all requests of one: by prompt_cache_key,
// the agent's session header, the user, or else by the caller's key, the system prompt and
// the first user message. body is in any of the dialects.
func Conversation(key string, h Header, body []byte) uint64 {
	hash := fnv.New64a()
	add := func(s string) {
		_, _ = io.WriteString(hash, s)
		_, _ = hash.Write([]byte{0})
	}
	add(key)
	t := jsonedit.Text(body)
	members := map[string]jsonedit.Span{}
	for m := range t.Members(t.Root()) {
		members[m.Name] = m.Value
	}
	if s := t.String(members["prompt_cache_key"]); s != "" {
		add(s)
		return hash.Sum64()
	}
	for _, name := range sessions {
		if s := h.Get(name); s != "" {
			add(s)
			return hash.Sum64()
		}
	}
	user := t.String(members["user"])
	if user == "" {
		id, _ := t.Member(members["metadata"], "user_id")
		user = t.String(id)
	}
	if user != "" {
		add(user)
		return hash.Sum64()
	}
	texts(t, members["system"], add)
	texts(t, members["instructions"], add)
	list := members["messages"]
	if _, ok := members["messages"]; !ok {
		list = members["input"]
	}
	if t.Kind(list) == '"' {
		add(t.String(list))
	}
	for item := range t.Items(list) {
		role, _ := t.Member(item, "role")
		content, _ := t.Member(item, "content")
		texts(t, content, add)
		if t.String(role) == "user" {
			break
		}
	}
	return hash.Sum64()
}

// texts adds what is text in a content: not its cache marks, which move on with each turn.
func texts(t jsonedit.Text, content jsonedit.Span, add func(string)) {
	if t.Kind(content) == '"' {
		add(t.String(content))
		return
	}
	for block := range t.Items(content) {
		text, _ := t.Member(block, "text")
		if s := t.String(text); s != "" {
			add(s)
		}
	}
}
