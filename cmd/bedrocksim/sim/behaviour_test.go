package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
)

// Every control word, seen with the SDK's eyes. A word without a row fails TestEveryWordIsTested.
var behaviours = map[string]func(*testing.T, *simulator){
	"throttle":    answers("throttle=7", 429, "ThrottlingException", account),
	"throttle400": answers("throttle400", 400, "ThrottlingException", account),
	"quota":       answers("quota", 400, "ServiceQuotaExceededException", account),
	"deny":        answers("deny", 403, "AccessDeniedException", "arn:aws:bedrock:us-west-2::foundation-model/"+nova),
	"expired":     answers("expired", 403, "ExpiredTokenException", "expired"),
	"unknown-key": answers("unknown-key", 403, "UnrecognizedClientException", "invalid"),
	"notfound":    answers("notfound", 404, "ResourceNotFoundException", nova),
	"timeout":     answers("timeout", 408, "ModelTimeoutException", nova),
	"model-error": answers("model-error", 424, "ModelErrorException", nova),
	"not-ready":   answers("not-ready", 429, "ModelNotReadyException", nova),
	"fail":        answers("fail", 500, "InternalServerException", account),
	"unavailable": answers("unavailable", 503, "ServiceUnavailableException", ""),
	"invalid":     answers("invalid", 400, "ValidationException", account),
	"agent": func(t *testing.T, s *simulator) {
		calls, text, _ := agentClients(t)["converse"].run(t, s, "sim:agent=/tmp/x go")
		if len(calls) != agentSteps || !strings.Contains(text, "is done") {
			t.Errorf("%d turns, %s", len(calls), text)
		}
	},
	"once": func(t *testing.T, s *simulator) {
		_, _, statuses := agentClients(t)["converse"].run(t, s, "sim:agent sim:once=quota go")
		if len(statuses) != agentSteps+2 || statuses[1] != 400 {
			t.Errorf("%v", statuses)
		}
	},
	"overloaded":      answers("overloaded", 503, "ServiceUnavailableException", ""),
	"prompt-too-long": answers("prompt-too-long", 400, "ValidationException", "The model returned the following errors: prompt is too long: "),
	"too-long":        answers("too-long", 400, "ValidationException", "Input is too long"),

	"html": func(t *testing.T, s *simulator) {
		raw(t, s, "converse", "sim:html", 502, "text/html", "<html>")
	},
	"garbage": func(t *testing.T, s *simulator) {
		raw(t, s, "converse", "sim:garbage", 200, "application/json", "neither")
		if h := s.converseStream(t.Context(), nova, "sim:garbage"); h.err == nil {
			t.Errorf("the SDK made something of it: %+v", h)
		}
	},
	"coral": func(t *testing.T, s *simulator) {
		raw(t, s, "converse", "sim:coral", 200, "application/json", "UnknownOperationException")
	},
	"redirect": func(t *testing.T, s *simulator) {
		raw(t, s, "converse", "sim:redirect", 307, "", "")
	},
	"json": func(t *testing.T, s *simulator) {
		raw(t, s, "converse-stream", "sim:json", 200, "application/json", `"output"`)
	},
	"stall": func(t *testing.T, s *simulator) {
		begun := time.Now()
		if _, err := s.converse(t.Context(), nova, "sim:stall=50ms x"); err != nil || time.Since(begun) < 50*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		ctx, leave := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer leave()
		if _, err := s.converse(ctx, nova, "sim:stall"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("for ever: %v", err)
		}
		awaitLeft(t, s)
	},
	"stall-head": func(t *testing.T, s *simulator) { holds(t, s, "stall-head", 0) },
	"drip":       func(t *testing.T, s *simulator) { holds(t, s, "drip", 60) },
	"drop": func(t *testing.T, s *simulator) {
		if _, err := s.converse(t.Context(), nova, "sim:drop"); err == nil || !strings.Contains(err.Error(), "reset by peer") {
			t.Errorf("err %v", err)
		}
	},

	"words": func(t *testing.T, s *simulator) {
		if h := s.converseStream(t.Context(), nova, "sim:words=3"); h.text != "word1 word2 word3" {
			t.Errorf("%+v", h)
		}
	},
	"say": func(t *testing.T, s *simulator) {
		if h := s.converseStream(t.Context(), nova, "sim:say={%22a%22:1}+is%0Ait x"); h.text != "{\"a\":1} is\nit" {
			t.Errorf("%+v", h)
		}
	},
	"call": func(t *testing.T, s *simulator) {
		if h := s.converseStream(t.Context(), nova, "sim:call=lookup"); h.tool != "lookup" || h.stop != "tool_use" || h.input != "{}" {
			t.Errorf("%+v", h)
		}
	},
	"is": func(t *testing.T, s *simulator) {
		s.put(t, "is=us.anthropic.claude-opus-4-7")
		verdict(t, s, opaque, "converse", `{"messages":[{"role":"user","content":[{"text":"hi"}]}],"inferenceConfig":{"temperature":1}}`, "`temperature` is deprecated")
	},
	"no-tools": func(t *testing.T, s *simulator) {
		out, err := s.client.ConverseStream(t.Context(), &bedrockruntime.ConverseStreamInput{ModelId: ptr(nova), Messages: said("sim:no-tools Paris?"), ToolConfig: weather})
		if err != nil {
			t.Fatal(err)
		}
		if h := listen(out); h.tool != "" || h.text != "You said: Paris?" {
			t.Errorf("%+v", h)
		}
	},
	"think": func(t *testing.T, s *simulator) {
		h := s.converseStream(t.Context(), claude, "sim:think Why?")
		if h.reasoning == "" || h.signature == "" || checkThought(h.reasoning, h.signature) != nil || h.text != "You said: Why?" {
			t.Errorf("%+v", h)
		}
	},
	"only-think": func(t *testing.T, s *simulator) {
		if h := s.converseStream(t.Context(), claude, "sim:only-think Why?"); h.reasoning == "" || h.text != "" || h.stop != "end_turn" {
			t.Errorf("%+v", h)
		}
	},
	"interleave": func(t *testing.T, s *simulator) {
		out, err := s.client.Converse(t.Context(), &bedrockruntime.ConverseInput{ModelId: ptr(claude), Messages: said("sim:interleave Paris?"), ToolConfig: weather})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := kindsOf(out), []string{"reasoning", "text", "reasoning", "call", "reasoning", "call"}; !slices.Equal(got, want) {
			t.Errorf("%v", got)
		}
		out, err = s.converse(t.Context(), claude, "sim:interleave Paris?")
		if got, want := kindsOf(out), []string{"reasoning", "text", "reasoning", "text"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("%v, %v", got, err)
		}
	},
	"think-tags": func(t *testing.T, s *simulator) {
		if h := s.converseStream(t.Context(), nova, "sim:think-tags Why?"); h.text != "<thinking>The caller says: Why?</thinking>\nYou said: Why?" {
			t.Errorf("%+v", h)
		}
	},
	"call-id": func(t *testing.T, s *simulator) {
		raw(t, s, "converse", "sim:call sim:call-id=functions.f:7", 200, "application/json", `"toolUseId":"functions.f:7"`)
		raw(t, s, "converse", "sim:call sim:call-id", 200, "application/json", `"toolUseId":""`)
	},
	"tier": func(t *testing.T, s *simulator) {
		raw(t, s, "converse", "sim:tier=flex x", 200, "application/json", `"serviceTier":{"type":"flex"}`)
		if r := s.post(t, claude, "invoke", asked("x"), "X-Amzn-Bedrock-Service-Tier", "priority"); r.Header.Get("X-Amzn-Bedrock-Service-Tier") != "priority" {
			t.Errorf("%v", r.Header)
		}
	},
	"tokens-per-day": answers("tokens-per-day", 429, "ThrottlingException", "Too many tokens per day"),
	"redact": func(t *testing.T, s *simulator) {
		h := s.converseStream(t.Context(), nova, "sim:redact Why?")
		if !strings.HasPrefix(string(h.redacted), "sealed: ") || h.text != "You said: Why?" {
			t.Errorf("%+v", h)
		}
	},
	"stop":      stops("stop=pause_turn", "pause_turn"),
	"guardrail": stops("guardrail", "guardrail_intervened"),
	"refusal":   stops("refusal", "refusal"),
	"filtered":  stops("filtered", "content_filtered"),
	"malformed": stops("malformed", "malformed_tool_use"),
	"no-stop":   stops("no-stop", ""),
	"empty": func(t *testing.T, s *simulator) {
		if h := s.converseStream(t.Context(), nova, "sim:empty"); h.err != nil || h.text != "" || h.stop != "end_turn" || h.events != 3 {
			t.Errorf("%+v", h)
		}
	},
	"no-usage": func(t *testing.T, s *simulator) {
		if h := s.converseStream(t.Context(), nova, "sim:no-usage"); h.err != nil || h.total != 0 || h.stop != "end_turn" {
			t.Errorf("%+v", h)
		}
	},
	"extra": func(t *testing.T, s *simulator) {
		if h := s.converseStream(t.Context(), nova, "sim:extra x"); h.err != nil || h.text != "You said: x" {
			t.Errorf("%+v", h)
		}
		out, err := s.converse(t.Context(), nova, "sim:extra x")
		if err != nil || len(out.Output.(*types.ConverseOutputMemberMessage).Value.Content) != 2 {
			t.Errorf("%+v, %v", out, err)
		}
	},

	"every": func(t *testing.T, s *simulator) {
		begun := time.Now()
		if h := s.converseStream(t.Context(), nova, "sim:every=20ms sim:chunks=1 x"); h.events != 5 || time.Since(begun) < 80*time.Millisecond {
			t.Errorf("%d events in %v", h.events, time.Since(begun))
		}
	},
	"chunks": func(t *testing.T, s *simulator) {
		h := s.converseStream(t.Context(), nova, "sim:chunks=4 über")
		if h.text != "You said: über" || h.events != 4+4 {
			t.Errorf("%d events, %q", h.events, h.text)
		}
	},
	"bytes": func(t *testing.T, s *simulator) {
		if h := s.converseStream(t.Context(), nova, "sim:bytes=1 sim:chunks=1 x"); h.err != nil || h.text != "You said: x" {
			t.Errorf("%+v", h)
		}
	},
	"after": func(t *testing.T, s *simulator) {
		if h := s.converseStream(t.Context(), nova, "sim:after=2 sim:cut sim:chunks=4 x"); h.events != 2 {
			t.Errorf("%+v", h)
		}
	},
	"stall-mid": func(t *testing.T, s *simulator) {
		begun := time.Now()
		h := s.converseStream(t.Context(), nova, "sim:stall-mid=50ms x")
		if h.err != nil || h.text != "You said: x" || h.stop != "end_turn" || time.Since(begun) < 50*time.Millisecond {
			t.Errorf("%+v after %v: %v", h, time.Since(begun), h.err)
		}
		ctx, leave := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer leave()
		if h := s.converseStream(ctx, nova, "sim:stall-mid"); h.err == nil || h.events == 0 {
			t.Errorf("for ever: %+v", h)
		}
		awaitLeft(t, s)
	},
	// The SDK takes a stream that ends inside a frame for a clean end: these two are read raw.
	"break": func(t *testing.T, s *simulator) {
		if whole, rest, err := frames(t, s, "sim:break x"); whole == 0 || rest != 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d frames, %d bytes, %v", whole, rest, err)
		}
	},
	"break-frame": func(t *testing.T, s *simulator) {
		if whole, rest, err := frames(t, s, "sim:break-frame x"); whole == 0 || rest == 0 || err != nil {
			t.Errorf("%d frames, %d bytes, %v", whole, rest, err)
		}
	},
	"cut": func(t *testing.T, s *simulator) {
		if h := s.converseStream(t.Context(), nova, "sim:cut x"); h.err != nil || h.events == 0 || h.stop != "" {
			t.Errorf("%+v", h)
		}
	},
	"crc": func(t *testing.T, s *simulator) {
		if h := s.converseStream(t.Context(), nova, "sim:crc x"); h.err == nil || !strings.Contains(h.err.Error(), "checksum") {
			t.Errorf("%+v", h)
		}
	},
	"exception": func(t *testing.T, s *simulator) {
		h := s.converseStream(t.Context(), nova, "sim:exception x")
		var throttled *types.ThrottlingException
		if !errors.As(h.err, &throttled) || h.events == 0 {
			t.Errorf("%+v", h)
		}
		h = s.converseStream(t.Context(), nova, "sim:exception=modelStreamErrorException sim:after=0")
		var broken *types.ModelStreamErrorException
		if !errors.As(h.err, &broken) || *broken.OriginalStatusCode != 500 {
			t.Errorf("%+v", h)
		}
	},
	"error-frame": func(t *testing.T, s *simulator) {
		h := s.converseStream(t.Context(), nova, "sim:error-frame x")
		if _, kind, message := answerOf(h.err); kind != "InternalFailure" || !strings.Contains(message, account) {
			t.Errorf("%+v", h)
		}
	},
	"error-event": func(t *testing.T, s *simulator) {
		events, err := s.claudeEvents(t.Context(), "sim:error-event x")
		if last := events[len(events)-1]; err != nil || str(last, "error", "type") != "overloaded_error" {
			t.Errorf("%v, %v", events, err)
		}
	},
}

func TestBehaviours(t *testing.T) {
	for _, word := range slices.Sorted(maps.Keys(behaviours)) {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			behaviours[word](t, start(t))
		})
	}
}

func TestEveryWordIsTested(t *testing.T) {
	if got, want := slices.Sorted(maps.Keys(behaviours)), slices.Sorted(maps.Keys(words)); !slices.Equal(got, want) {
		t.Errorf("tested %v\nthere are %v", got, want)
	}
}

func TestTheControlEndpointHasEveryRequestObey(t *testing.T) {
	s := start(t)
	if status := s.put(t, "sim:deny"); status != 200 {
		t.Fatal(status)
	}
	_, err := s.converse(t.Context(), nova, "x")
	if _, kind, _ := answerOf(err); kind != "AccessDeniedException" {
		t.Errorf("%v", err)
	}
	if status := s.put(t, "deny nonsense"); status != 400 {
		t.Errorf("an unknown word: %d", status)
	}
	if status := s.put(t, ""); status != 200 {
		t.Fatal(status)
	}
	if _, err := s.converse(t.Context(), nova, "x"); err != nil {
		t.Error(err)
	}
	response, err := http.Get(s.URL + "/_sim/nothing")
	if err != nil || response.StatusCode != 404 {
		t.Errorf("%v, %v", response, err)
	}
}

func TestUnknownWordsAreLeftInThePrompt(t *testing.T) {
	out, err := start(t).converse(t.Context(), nova, "what is sim:nonsense or a sim:card?")
	if err != nil {
		t.Fatal(err)
	}
	if got := out.Output.(*types.ConverseOutputMemberMessage).Value.Content[0].(*types.ContentBlockMemberText).Value; got != "You said: what is sim:nonsense or a sim:card?" {
		t.Error(got)
	}
}

// kindsOf are the kinds of an answer's blocks, in order.
func kindsOf(out *bedrockruntime.ConverseOutput) (kinds []string) {
	for _, b := range out.Output.(*types.ConverseOutputMemberMessage).Value.Content {
		switch b.(type) {
		case *types.ContentBlockMemberText:
			kinds = append(kinds, "text")
		case *types.ContentBlockMemberToolUse:
			kinds = append(kinds, "call")
		case *types.ContentBlockMemberReasoningContent:
			kinds = append(kinds, "reasoning")
		}
	}
	return kinds
}

// answers checks the exception that a word brings, in both modes.
func answers(words string, status int, kind, inMessage string) func(*testing.T, *simulator) {
	return func(t *testing.T, s *simulator) {
		_, err := s.converse(t.Context(), nova, "Please sim:"+words+" now.")
		streamed := s.converseStream(t.Context(), nova, "sim:"+words)
		for _, err := range []error{err, streamed.err} {
			gotStatus, gotKind, message := answerOf(err)
			if gotStatus != status || gotKind != kind || !strings.Contains(message, inMessage) {
				t.Errorf("%d %s: %s", gotStatus, gotKind, message)
			}
		}
		if _, value, _ := strings.Cut(words, "="); value != "" {
			if r := s.post(t, claude, "invoke", asked("sim:"+words)); r.Header.Get("Retry-After") != value || r.StatusCode != status {
				t.Errorf("%s, Retry-After %q", r.Status, r.Header.Get("Retry-After"))
			}
		}
	}
}

// stops checks the stop reason that a word brings, in both modes.
func stops(word, reason string) func(*testing.T, *simulator) {
	return func(t *testing.T, s *simulator) {
		out, err := s.converse(t.Context(), nova, "sim:"+word)
		if err != nil || string(out.StopReason) != reason {
			t.Errorf("%v, %v", out, err)
		}
		if h := s.converseStream(t.Context(), nova, "sim:"+word); h.err != nil || h.stop != reason {
			t.Errorf("%+v", h)
		}
	}
}

func raw(t *testing.T, s *simulator, operation, prompt string, status int, contentType, inBody string) {
	t.Helper()
	r := s.post(t, nova, operation, marshal(object{"messages": []any{object{"role": "user", "content": []any{object{"text": prompt}}}}}))
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != status || r.Header.Get("Content-Type") != contentType || !strings.Contains(string(body), inBody) {
		t.Errorf("%s %s: %s", r.Status, r.Header.Get("Content-Type"), body)
	}
}

// frames counts the whole frames of a stream and the bytes behind them, and tells how the connection ended.
func frames(t *testing.T, s *simulator, prompt string) (whole, rest int, err error) {
	t.Helper()
	r := s.post(t, claude, "invoke-with-response-stream", asked(prompt))
	body, err := io.ReadAll(r.Body)
	for len(body) >= 4 && len(body) >= int(binary.BigEndian.Uint32(body)) {
		body = body[binary.BigEndian.Uint32(body):]
		whole++
	}
	return whole, len(body), err
}

// awaitLeft waits until the simulator has seen its last caller leave.
func awaitLeft(t *testing.T, s *simulator) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		r := s.recorded(t)
		if last := r.Calls[len(r.Calls)-1]; r.Open == 0 && last.Left {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody left: %+v", r)
		}
	}
}

func ptr(s string) *string { return &s }
