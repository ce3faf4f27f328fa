package sse

import "bytes"

// Cut reads the first event of a stream: its data, lines joined by a line break as the
// standard has it, and the bytes that it takes up to the next one; 0 where b holds no whole
// event yet. Comments and events without data give none. data is a part of b where it is
// one line, which it is as a rule. Names, ids and retry times are not read: what upstreams
// send says in its data what it is.
//
// Source: WHATWG HTML, Server-sent events, "Interpreting an event stream".
func Cut(b []byte) (data []byte, n int) {
	lines := 0
	for n < len(b) {
		end := bytes.IndexAny(b[n:], "\r\n")
		if end < 0 {
			return nil, 0
		}
		line := b[n : n+end]
		next := n + end + 1
		if b[n+end] == '\r' {
			if next == len(b) {
				return nil, 0 // its \n may be on the way
			}
			if b[next] == '\n' {
				next++
			}
		}
		n = next
		if len(line) == 0 {
			return data, n
		}
		value, ok := bytes.CutPrefix(line, []byte("data"))
		if !ok || len(value) > 0 && value[0] != ':' {
			continue
		}
		value = bytes.TrimPrefix(bytes.TrimPrefix(value, []byte(":")), []byte(" "))
		if lines++; lines == 1 {
			data = value
		} else {
			data = append(append(data[:len(data):len(data)], '\n'), value...)
		}
	}
	return nil, 0
}
