package extproc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/extproc/admission"
	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/usage"
)

// match is what an alias stands for, with resources of its own.
func match(id string) *snapshot.Match {
	return &snapshot.Match{
		Model:         &resource.Model{ModelName: id, Timeout: 60_000, Bedrock: resource.Bedrock{}},
		UpstreamID:    id,
		ProviderKeyID: "p",
		ProviderKey:   &resource.ProviderKey{Credentials: resource.Static{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", Region: "us-west-2"}},
	}
}

// A model compiles once for each revision of it and its provider key, and for each
// id that a wildcard alias captured; what is kept is bounded.
func TestCompiledOnce(t *testing.T) {
	s := New(Parts{})
	compiled := func(m snapshot.Match) *bedrock.Model {
		t.Helper()
		model, err := s.targets.compiled(m.Model, m.ProviderKey, m.UpstreamID)
		if err != nil {
			t.Fatal(err)
		}
		return model
	}
	m := *match("amazon.nova-pro-v1:0")
	first := compiled(m)
	if compiled(m) != first {
		t.Error("the same resources were compiled again")
	}
	written := *m.Model
	for what, change := range map[string]func(*snapshot.Match){
		"the model":        func(m *snapshot.Match) { m.Model = &written },
		"the provider key": func(m *snapshot.Match) { m.ProviderKey = match("").ProviderKey },
		"the capture":      func(m *snapshot.Match) { m.UpstreamID = "amazon.nova-lite-v1:0" },
	} {
		other := m
		change(&other)
		if model := compiled(other); model == first || model.ID != other.UpstreamID {
			t.Errorf("%s changed, and %s is what was compiled before", what, model.ID)
		}
	}
	// Callers choose what a wildcard captures: none of it drives out what has a name.
	for i := range maxCaptured + 1 {
		other := m
		other.UpstreamID = fmt.Sprintf("amazon.nova-pro-v1:%d", i+1)
		compiled(other)
	}
	if n := s.targets.captured.Len(); n != maxCaptured {
		t.Errorf("%d captures are kept", n)
	}
	if compiled(m) != first {
		t.Error("captures drove out a model")
	}
	for range maxCompiled {
		compiled(*match("amazon.nova-pro-v1:0"))
	}
	if n := s.targets.named.Len(); n != maxCompiled || compiled(m) == first {
		t.Errorf("%d models are kept", n)
	}
	bad := match("amazon.nova-pro-v1:0")
	bad.ProviderKey.APIBase = "ftp://example.com"
	for range 2 {
		if _, err := s.targets.compiled(bad.Model, bad.ProviderKey, bad.UpstreamID); err == nil {
			t.Error("compiled to no endpoint")
		}
	}
}

// otherWay is a way that is no exchange: it says what it is told to.
type otherWay func(end time.Time, s *bedrock.Signed) (*reply, error)

func (w otherWay) Do(_ context.Context, end time.Time, s *bedrock.Signed) (*reply, error) {
	return w(end, s)
}

// still is a body without a clock.
type still struct{ io.Reader }

func (s still) Piece() ([]byte, error)        { b, err := io.ReadAll(s); return b, cmp.Or(err, io.EOF) }
func (still) SetReadDeadline(time.Time) error { return nil }

// An attempt is a value: whichever way it goes, the reply, its fault and what the
// record wants of it come out the same.
func TestAttemptGoesAnyWay(t *testing.T) {
	now := time.Now()
	s := New(Parts{Now: func() time.Time { return now }})
	start := func(stream bool) *call {
		m := match("amazon.nova-pro-v1:0")
		m.Model.StreamTimeout = 10_000
		model, err := s.targets.compiled(m.Model, m.ProviderKey, m.UpstreamID)
		if err != nil {
			t.Fatal(err)
		}
		request := &chat.Request{Stream: stream, Messages: []chat.Message{{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: "Hi"}}}}}
		upstream, err := bedrock.NewCall(t.Context(), request, model, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		return &call{facts: usage.Facts{Time: now, Stream: stream}, match: m, upstream: upstream, budget: s.newBudget(now, m.Model), held: admission.NewShared(0).Account("")}
	}
	says := func(status int, body string) otherWay {
		return func(_ time.Time, signed *bedrock.Signed) (*reply, error) {
			if signed.URL.Host != "bedrock-runtime.us-west-2.amazonaws.com" || signed.Header().Get("Authorization") == "" || len(signed.Body()) == 0 {
				t.Errorf("sent %v %v", signed.URL, signed.Header())
			}
			header := http.Header{"X-Amzn-Requestid": {"aws-1"}, "X-Amzn-Errortype": {"ThrottlingException"}}
			return &reply{signed.Reply(status, header), still{strings.NewReader(body)}, nil, time.Time{}}, nil
		}
	}

	c := start(false)
	if r, err := s.attempt(t.Context(), c, says(200, "{}")); err != nil || !r.OK() || !slices.Equal(c.facts.Tries, []usage.Try{{ProviderKeyID: "p", RequestID: "aws-1", Status: 200, Sent: now}}) {
		t.Errorf("%v, tries %+v", err, c.facts.Tries)
	}
	_, err := s.attempt(t.Context(), c, says(429, `{"message":"slow down"}`)) // the same call, signed anew
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != "rate_limit_exceeded" || len(c.facts.Tries) != 2 || c.facts.Tries[1] != (usage.Try{ProviderKeyID: "p", RequestID: "aws-1", Status: 429, Sent: now}) {
		t.Errorf("%v, tries %+v", err, c.facts.Tries)
	}

	// One budget: the head of a stream has to come within its gap, that of a whole
	// answer within the call's time.
	for stream, most := range map[bool]time.Duration{false: time.Minute, true: 10 * time.Second} {
		c, late := start(stream), context.DeadlineExceeded
		if stream {
			late = os.ErrDeadlineExceeded
		}
		_, err := s.attempt(t.Context(), c, otherWay(func(end time.Time, _ *bedrock.Signed) (*reply, error) {
			if !end.Equal(now.Add(most)) {
				t.Errorf("stream %v: waits until %v after the start", stream, end.Sub(now))
			}
			return nil, late
		}))
		if !errors.As(err, &f) || f.Kind != fault.Timeout || f.Err != context.DeadlineExceeded || c.facts.Tries[0] != (usage.Try{ProviderKeyID: "p", Sent: now}) {
			t.Errorf("stream %v: %v", stream, err)
		}
	}
}
