// Package identity turns a provider key into what a request to AWS proves itself
// by.
//
// It knows the kinds of credentials that a provider key may hold and what they come
// down to. What is not at hand (a role's, the host's own) it gets from STS and the
// metadata services once for all calls, and again in the background before it expires;
// only the very first call of a provider key waits for that. It knows no signature of
// Bedrock's (bedrock makes those). Caller: extproc, once for each attempt.
package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"aisix/admin/resource"
	"aisix/extproc/fault"
)

// Token is what one attempt proves itself by: AWS's access key, temporary with a
// session token, or a bearer.
type Token struct {
	AccessKeyID     string
	SecretAccessKey resource.Secret
	SessionToken    resource.Secret // "" for a permanent key
	Bearer          resource.Secret // a Bedrock API key; the others are empty then
	Expires         time.Time       // zero: never, or not known
}

// lasts reports whether the token is good at a time.
func (t *Token) lasts(now time.Time) bool {
	return t != nil && (t.Expires.IsZero() || now.Before(t.Expires))
}

// Options are what a Source goes by; the zero value grants nothing.
type Options struct {
	Grants      resource.Grants
	STSEndpoint string         // a private STS; "": AWS's of the provider key's region
	CAs         *x509.CertPool // nil: the system's
	Log         *slog.Logger
	// InForce reports whether a provider key has these credentials still: else they are
	// not refreshed any more. nil: always.
	InForce func(resource.Credentials) bool
	// Failed is told of each attempt to get credentials that failed.
	Failed func(kind string)
}

// Source gives tokens. It is for concurrent use.
type Source struct {
	Options
	life context.Context
	end  context.CancelFunc

	mu     sync.Mutex
	leases map[resource.Credentials]*lease
}

// New makes a source. Close ends what it does in the background.
func New(o Options) *Source {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.InForce == nil {
		o.InForce = func(resource.Credentials) bool { return true }
	}
	if o.Failed == nil {
		o.Failed = func(string) {}
	}
	s := &Source{Options: o, leases: map[resource.Credentials]*lease{}}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Close ends the refreshing.
func (s *Source) Close() { s.end() }

// Held is the token of provider key k, where it is at hand.
func (s *Source) Held(k *resource.ProviderKey) (Token, bool) {
	switch c := k.Credentials.(type) {
	case resource.Static:
		return Token{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}, true
	case resource.BedrockAPIKey:
		return Token{Bearer: c.APIKey}, true
	}
	s.mu.Lock()
	l := s.leases[k.Credentials]
	s.mu.Unlock()
	if l == nil {
		return Token{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.token.lasts(time.Now()) {
		return Token{}, false
	}
	return *l.token, true
}

// Token is the token of provider key k. It waits for nothing but the first answer that
// is asked for credentials of their own, and then until ctx ends: the error is ctx's, or
// a fault that says no more than that there are none.
func (s *Source) Token(ctx context.Context, k *resource.ProviderKey) (Token, error) {
	if token, ok := s.Held(k); ok {
		return token, nil
	}
	l, err := s.lease(k)
	if err != nil {
		return Token{}, unavailable(err)
	}
	return l.get(ctx)
}

// Refused is told of a token that AWS refused as expired although it should last: a new
// one is asked for at once, unless this one is new itself.
func (s *Source) Refused(k *resource.ProviderKey, t Token) {
	s.mu.Lock()
	l := s.leases[k.Credentials]
	s.mu.Unlock()
	if l != nil {
		l.refused(t)
	}
}

// lease is the one of k's credentials; the first who asks begins it.
func (s *Source) lease(k *resource.ProviderKey) (*lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.leases[k.Credentials]; l != nil {
		return l, nil
	}
	if err := s.Grants.Check(k.Credentials); err != nil {
		return nil, errors.New("the provider key's secret: " + err.Message)
	}
	fetch, err := s.fetcher(k.Credentials)
	if err != nil {
		return nil, err
	}
	l := newLease(s, k, fetch)
	s.leases[k.Credentials] = l
	go l.run(s.life)
	return l, nil
}

// drop forgets a lease.
func (s *Source) drop(l *lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.leases, l.credentials)
}

// State is what there is to know of the credentials of a provider key.
type State struct {
	ProviderKey string    // its name
	Kind        string    // of the credentials
	Since       time.Time // when they were got; zero: never
	Expires     time.Time // zero: never, or not known
}

// States are those of all credentials that are refreshed, and in force.
func (s *Source) States() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make([]State, 0, len(s.leases))
	for c, l := range s.leases {
		if s.InForce(c) {
			states = append(states, l.state())
		}
	}
	return states
}

// Unavailable is the code of the fault of a call for which there are no credentials.
const Unavailable = "credentials_unavailable"

// unavailable is that fault. err is for the operator: it names what AWS named.
func unavailable(err error) error {
	return &fault.Error{Kind: fault.Upstream, Status: http.StatusBadGateway, Code: Unavailable, Message: "upstream authentication failed", Err: err}
}
