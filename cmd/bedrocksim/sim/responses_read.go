package sim

func (s *Server) readResponses(m model, host string, body any) (*ask, *fault) {
	return nil, invalid("not yet")
}
func (a *ask) response(out answer) object            { return nil }
func (a *ask) responseStream(out answer) [][]byte    { return nil }
func (a *ask) failedEvent(f *fault, sent int) []byte { return nil }
func (s *Server) serveStored(v *visit) *fault        { return nil }
