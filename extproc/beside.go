package extproc

import (
	"context"
	"errors"
	"time"

	"aisix/extproc/bedrock"
	"aisix/extproc/egress"
)

// beside is the way of an attempt that is not the caller's own request going on: it goes by
// Envoy's egress listener, beside the exchange. life ends what is left of its replies' bodies;
// they are to be ended before that, once they are read.
type beside struct {
	egress *egress.Client
	life   context.Context
}

func (b beside) Do(_ context.Context, end time.Time, s *bedrock.Signed) (*reply, error) {
	r, err := b.egress.Post(b.life, egress.Request{URL: s.URL, Header: s.Header(), Body: s.Body()}, end)
	switch {
	case errors.Is(err, egress.ErrBroken), errors.Is(err, egress.ErrUnreachable):
		return nil, unreached(err)
	case err != nil:
		return nil, err
	case r.Local:
		r.Body.Close()
		return nil, localFault(r.Status, r.Details)
	}
	return &reply{Reply: s.Reply(r.Status, r.Header), body: piecewise{r.Body}, end: r.Body.Close}, nil
}

// piecewise is a body whose breaking off is the upstream's fault: the caller is still there.
type piecewise struct{ *egress.Body }

func (p piecewise) Piece() ([]byte, error) {
	b, err := p.Body.Piece()
	return b, broken(err)
}

func (p piecewise) Read(b []byte) (int, error) {
	n, err := p.Body.Read(b)
	return n, broken(err)
}

func broken(err error) error {
	if errors.Is(err, egress.ErrBroken) {
		return unreached(err)
	}
	return err
}
