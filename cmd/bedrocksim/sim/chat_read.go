package sim

func (s *Server) readChat(m model, host string, body any) (*ask, *fault) {
	return nil, invalid("not yet")
}
func (a *ask) completion(out answer) object         { return nil }
func (a *ask) completionStream(out answer) [][]byte { return nil }
