package extproc

import (
	"context"
	"errors"
	"time"

	"aisix/admin/resource"
	"aisix/extproc/identity"
)

// token is what an attempt with provider key k proves itself by. Where it has to be
// waited for, that ends with the call's time.
func (s *Server) token(ctx context.Context, k *resource.ProviderKey, end time.Time) (identity.Token, error) {
	if token, ok := s.Identities.Held(k); ok {
		return token, nil
	}
	waiting, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	token, err := s.Identities.Token(waiting, k)
	if errors.Is(err, context.DeadlineExceeded) && waiting.Err() != nil && ctx.Err() == nil { // not STS's time
		err = timedOut(err)
	}
	return token, err
}
