package identity

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"aisix/admin/resource"
)

const (
	fetchTimeout = 20 * time.Second // of one attempt to get credentials
	maxAhead     = 10 * time.Minute // how long before their end they are got anew, at most
	unbounded    = 10 * time.Minute // how long those are kept that name no end
	firstRetry   = time.Second
	lastRetry    = time.Minute
	onTheWay     = 2 * time.Second  // what a call may take to arrive with a token that is about to end, at most
	settled      = 30 * time.Second // a token younger than this is not asked for anew because AWS refuses it
)

// lease is credentials that have to be got again and again: one token that is good, and
// how it is followed by the next.
type lease struct {
	source      *Source
	credentials resource.Credentials
	key         string // the provider key's name, for the operator
	fetch       func(context.Context) (Token, error)
	hurry       chan struct{}

	mu      sync.Mutex
	token   *Token
	since   time.Time     // when the token was got
	err     error         // of the last attempt; nil where it went well, or is the first
	changed chan struct{} // closed when the running attempt ends
}

func newLease(s *Source, k *resource.ProviderKey, fetch func(context.Context) (Token, error)) *lease {
	return &lease{source: s, credentials: k.Credentials, key: k.DisplayName, fetch: fetch, hurry: make(chan struct{}, 1), changed: make(chan struct{})}
}

// get is the token, while it lasts. Where there is none, and no attempt has failed yet,
// it waits for the one that is under way: who comes later gets that one's error at once.
func (l *lease) get(ctx context.Context) (Token, error) {
	for {
		l.mu.Lock()
		token, err, changed := l.token, l.err, l.changed
		l.mu.Unlock()
		switch {
		case token.lasts(time.Now()):
			return *token, nil
		case err != nil:
			return Token{}, unavailable(err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Token{}, ctx.Err()
		case <-l.source.life.Done():
			return Token{}, unavailable(context.Canceled)
		}
	}
}

// run gets a token before the last one ends, until the credentials are no longer in
// force, or ctx ends.
func (l *lease) run(ctx context.Context) {
	for failures := 0; ; {
		wait, err := l.renew(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			failures = 0
		} else {
			wait = backoff(failures)
			failures++
			l.source.Failed(l.credentials.Type())
			l.source.Log.Warn("no new credentials for a provider key", "code", Unavailable, "provider_key", l.key, "type", l.credentials.Type(),
				"error", err, "left", l.left().String(), "retry_in", wait.Round(time.Millisecond).String())
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.hurry:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if !l.source.InForce(l.credentials) {
			l.source.drop(l)
			l.finish(nil, errors.New("the provider key is gone, or has other credentials now"))
			return
		}
	}
}

// renew makes one attempt to get a token, and says when the next is due.
func (l *lease) renew(ctx context.Context) (next time.Duration, err error) {
	attempt, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	token, err := l.fetch(attempt)
	if err == nil && !token.lasts(time.Now()) {
		err = errors.New("what was given had expired at " + token.Expires.UTC().Format(time.RFC3339) + ": is this host's clock right?")
	}
	if err != nil {
		l.finish(nil, err)
		return 0, err
	}
	if !token.Expires.IsZero() { // what is signed with its last moments arrives too late
		token.Expires = token.Expires.Add(-min(onTheWay, time.Until(token.Expires)/10))
	}
	l.finish(&token, nil)
	return due(token.Expires, time.Now()), nil
}

// finish ends an attempt: those who wait go on. A token that lasts outlives an error.
func (l *lease) finish(token *Token, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if token != nil {
		l.token, l.since = token, time.Now()
	}
	l.err = err
	close(l.changed)
	l.changed = make(chan struct{})
}

// refused has a token replaced that AWS did not take.
func (l *lease) refused(t Token) {
	l.mu.Lock()
	current := l.token != nil && *l.token == t && time.Since(l.since) >= settled
	l.mu.Unlock()
	if !current {
		return
	}
	select {
	case l.hurry <- struct{}{}:
	default:
	}
}

// left is how long the token will last.
func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token == nil || l.token.Expires.IsZero() {
		return 0
	}
	return max(0, time.Until(l.token.Expires)).Round(time.Second)
}

func (l *lease) state() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := State{ProviderKey: l.key, Kind: l.credentials.Type(), Since: l.since}
	if l.token != nil {
		s.Expires = l.token.Expires
	}
	return s
}

// due is how long a token is kept: until a third of its time is left, or ten minutes,
// and by a random part of that less, so that many do not come at once.
func due(expires, now time.Time) time.Duration {
	if expires.IsZero() {
		return unbounded - rand.N(unbounded/4)
	}
	lasts := expires.Sub(now)
	ahead := min(lasts/3, maxAhead)
	return lasts - ahead - rand.N(ahead/2+1)
}

// backoff is how long to wait after so many failures: longer each time, up to a minute.
func backoff(failures int) time.Duration {
	wait := lastRetry
	if failures < 6 {
		wait = min(firstRetry<<failures, lastRetry)
	}
	return wait - rand.N(wait/4)
}
