package extproc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"aisix/admin/resource"
	"aisix/extproc/fault"
	"aisix/extproc/identity"
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
}
