package extproc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/extproc/bedrock"
	"aisix/extproc/chat"
	"aisix/extproc/fault"
	"aisix/extproc/identity"
	"aisix/extproc/usage"
)

// Waiting for the first credentials of a provider key ends with the call's time, and with
// the caller.
func TestTheFirstTokenIsWaitedForInTheCallsTime(t *testing.T) {
	asked := make(chan struct{}, 16)
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then is the end of the connection noticed
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer sts.Close()
	source := identity.New(identity.Options{STSEndpoint: sts.URL})
	defer source.Close()
	s := New(Parts{Identities: source})
	k := &resource.ProviderKey{Credentials: resource.AssumeRole{RoleARN: "arn:aws:iam::123456789012:role/x", SessionName: "gw", Region: "us-west-2",
		Source: resource.AccessKey{AccessKeyID: "AKID", SecretAccessKey: "secret"}}}

	_, err := s.token(t.Context(), k, time.Now().Add(10*time.Millisecond))
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Timeout || f.Status != http.StatusGatewayTimeout {
		t.Errorf("%v", err)
	}
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-asked; leave() }()
	if _, err := s.token(ctx, k, time.Now().Add(time.Minute)); !errors.Is(err, context.Canceled) || errors.As(err, &f) && f.Kind == fault.Timeout && ctx.Err() == nil {
		t.Errorf("%v", err)
	}
	if n := len(asked); n != 0 {
		t.Errorf("STS was asked %d more times", n)
	}

	// A try's time is less where it has a bound of its own, and then the next one has its.
	for _, test := range []struct {
		budget budget
		stream bool
	}{{budget{first: 10 * time.Millisecond, gap: time.Minute}, false}, {budget{first: 10 * time.Millisecond, gap: time.Minute}, true}, {budget{gap: 10 * time.Millisecond}, true}} {
		test.budget.end = time.Now().Add(time.Minute)
		c := &call{match: &snapshot.Match{ProviderKey: k}, budget: test.budget, facts: usage.Facts{Stream: test.stream}}
		if _, err := s.try(t.Context(), c, nil, nil, new(usage.Try)); !errors.As(err, &f) || f.Kind != fault.Timeout || reasonOf(err) != credentials {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// What AWS refuses as expired ahead of its time is got anew for the provider key that it was refused
// to: of each target, not of the model's first.
func TestARefusedTokenIsItsOwnTargets(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDFIRST")
	synctest.Test(t, func(t *testing.T) {
		source := identity.New(identity.Options{Grants: resource.Grants{Ambient: true}})
		defer source.Close()
		s := New(Parts{Identities: source})
		first := &resource.ProviderKey{Credentials: resource.Static{AccessKeyID: "AKID", SecretAccessKey: "secret", Region: "us-west-2"}}
		second := &resource.ProviderKey{Credentials: resource.Ambient{Region: "us-east-1"}}
		c := &call{
			match:  &snapshot.Match{ProviderKey: first},
			target: &snapshot.Target{Name: "east", ProviderKey: second},
			budget: budget{end: time.Now().Add(time.Hour)},
		}
		model, err := bedrock.Compile(&resource.Model{}, "amazon.nova-pro-v1:0", second)
		if err != nil {
			t.Fatal(err)
		}
		request := &chat.Request{Messages: []chat.Message{{Role: chat.User, Blocks: []chat.Block{chat.Text{Text: "Hi"}}}}}
		if c.upstream, err = bedrock.NewCall(t.Context(), request, model, 1<<20); err != nil {
			t.Fatal(err)
		}
		var tokens []string
		refuses := otherWay(func(_ time.Time, signed *bedrock.Signed) (*reply, error) {
			tokens = append(tokens, signed.Header().Get("Authorization"))
			return &reply{Reply: signed.Reply(http.StatusForbidden, http.Header{"X-Amzn-Errortype": {"ExpiredTokenException"}})}, nil
		})
		for _, host := range []string{"AKIDFIRST", "AKIDOTHER", "AKIDOTHER"} {
			os.Setenv("AWS_ACCESS_KEY_ID", host) // what the host has by now
			if _, err := s.try(t.Context(), c, c.upstream, refuses, new(usage.Try)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			time.Sleep(time.Minute) // no longer new
		}
		for i, want := range []string{"AKIDFIRST", "AKIDFIRST", "AKIDOTHER"} {
			if !strings.Contains(tokens[i], want) {
				t.Errorf("try %d went by %s, want %s", i+1, tokens[i], want)
			}
		}
	})
}
