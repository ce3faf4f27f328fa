// Package load asks a gateway on this machine and times its answers, each of which
// is read to its end and checked.
//
// It knows HTTP/1.1 and the clock. A Target says what is asked and what a good
// answer is; a Plan says how often: one request after the other on each connection,
// or at a rate. It spends as little CPU as it can, since it shares the machine with
// what it measures: requests are bytes that were made before.
package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// patience is how long one answer may take, from request to end.
const patience = 60 * time.Second

// A Target is what is asked, and what every answer to it must be.
type Target struct {
	Address string // host:port
	Request []byte // head and body
	Vary    []Digits
	Answer  Answer
	// Sheds counts a 503 that says when to come again as what it is, instead of as a
	// wrong answer.
	Sheds bool
}

// Digits are decimal digits of a request that differ each time: a number below
// Below, with leading zeroes, over the Width bytes at At.
type Digits struct{ At, Width, Below int }

// An Answer is what a good answer has: status 200, Holds somewhere in its body, Ends
// at its end, and Mark exactly Marks times, where these are set.
type Answer struct {
	Holds, Ends []byte
	Mark        []byte
	Marks       int
	First       []byte // what the first content holds; empty: any byte is content
}

func (a *Answer) check(status int, body []byte) error {
	switch {
	case status != http.StatusOK:
		return fmt.Errorf("status %d: %.300q", status, body)
	case !bytes.Contains(body, a.Holds):
		return fmt.Errorf("no %q in the answer %.300q", a.Holds, body)
	case !bytes.HasSuffix(body, a.Ends):
		return fmt.Errorf("the answer does not end with %q: …%q", a.Ends, body[max(0, len(body)-300):])
	case a.Marks > 0 && bytes.Count(body, a.Mark) != a.Marks:
		return fmt.Errorf("the answer has %q %d times instead of %d", a.Mark, bytes.Count(body, a.Mark), a.Marks)
	}
	return nil
}

// A timing is one good answer.
type timing struct {
	whole, first time.Duration // since the request was due
	gaps         []time.Duration
}

// A connection asks one request at a time, and dials again where it was closed.
type connection struct {
	target  *Target
	request []byte // its own copy: digits are written into it
	socket  net.Conn
	reader  *bufio.Reader
	body    []byte
	content func() // told of the first content, where set
}

func newConnection(t *Target) *connection {
	return &connection{target: t, request: bytes.Clone(t.Request), reader: bufio.NewReaderSize(nil, 64<<10)}
}

func (c *connection) close() {
	if c.socket != nil {
		c.socket.Close()
		c.socket = nil
	}
}

// ask sends the request and reads the answer; due is when it should have been sent.
func (c *connection) ask(due time.Time) (t timing, err error) {
	defer func() {
		if err != nil && !errors.Is(err, errShed) {
			c.close()
		}
	}()
	if c.socket == nil {
		if c.socket, err = net.DialTimeout("tcp", c.target.Address, patience); err != nil {
			return t, err
		}
		c.reader.Reset(c.socket)
	}
	if err := c.socket.SetDeadline(time.Now().Add(patience)); err != nil {
		return t, err
	}
	for _, d := range c.target.Vary {
		d.write(c.request, rand.IntN(d.Below))
	}
	if _, err := c.socket.Write(c.request); err != nil {
		return t, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return t, err
	}
	defer response.Body.Close()
	if t, err = c.read(response.Body, due); err != nil {
		return t, err
	}
	if response.Close {
		c.close()
	}
	if c.target.Sheds && response.StatusCode == http.StatusServiceUnavailable {
		return t, shed(response.Header, c.body)
	}
	return t, c.target.Answer.check(response.StatusCode, c.body)
}

// errShed is a 503 as the contract has it.
var errShed = errors.New("shed")

func shed(h http.Header, body []byte) error {
	after, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || after < 1 || !bytes.Contains(body, []byte(`"type":"gateway_overloaded"`)) {
		return fmt.Errorf("a 503 with Retry-After %q: %.300q", h.Get("Retry-After"), body)
	}
	return errShed
}

// read reads a body to its end. What comes in one read came together.
func (c *connection) read(body io.Reader, due time.Time) (t timing, err error) {
	c.body = c.body[:0]
	var last time.Time
	for {
		c.body = append(c.body, make([]byte, 4<<10)...)[:len(c.body)]
		n, err := body.Read(c.body[len(c.body):cap(c.body)])
		c.body = c.body[:len(c.body)+n]
		if n > 0 {
			now := time.Now()
			if !last.IsZero() {
				t.gaps = append(t.gaps, now.Sub(last))
				last = now
			} else if bytes.Contains(c.body, c.target.Answer.First) {
				t.first, last = now.Sub(due), now
				if c.content != nil {
					c.content()
				}
			}
		}
		if errors.Is(err, io.EOF) {
			t.whole = time.Since(due)
			return t, nil
		}
		if err != nil {
			return t, fmt.Errorf("after %d bytes of the answer: %w", len(c.body), err)
		}
	}
}

func (d Digits) write(request []byte, n int) {
	for i := d.At + d.Width - 1; i >= d.At; i-- {
		request[i] = byte('0' + n%10)
		n /= 10
	}
}
