package sim

import (
	"io"
	"net"
	"net/http"
)

// misanswer gives what no Bedrock answer should be, and reports whether it was told to.
func (a *ask) misanswer(w http.ResponseWriter, r *http.Request) bool {
	write := func(status int, contentType, body string) bool {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, body)
		return true
	}
	expected := "application/json"
	if a.streamed {
		expected = a.streamMedia()
	}
	switch {
	case a.do.has("html"):
		return write(http.StatusBadGateway, "text/html", "<html><body><h1>502 Bad Gateway</h1> "+a.hostname()+"</body></html>")
	case a.do.has("garbage"):
		return write(http.StatusOK, expected, "\x00\x01 this is neither JSON nor an event stream")
	// AWS's front end answers some bad paths like that: 200, and an exception in the body.
	case a.do.has("coral"):
		return write(http.StatusOK, "application/json", `{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}`)
	case a.do.has("redirect"):
		w.Header().Set("Location", "https://"+a.hostname()+r.URL.EscapedPath())
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	case a.do.has("drop"):
		reset(w)
	}
	return false
}

// reset breaks the connection with a TCP reset.
func reset(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	// Without lingering, closing sends RST, not FIN.
	if tcp, ok := connection.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	connection.Close()
	panic(http.ErrAbortHandler)
}
