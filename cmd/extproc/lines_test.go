package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := newLines(&out)
		calls := l.ofCalls()
		want := func(s string) {
			t.Helper()
			if out.String() != s {
				t.Errorf("%q, want %q", out.String(), s)
			}
		}
		calls.Write([]byte("a\n"))
		calls.Write([]byte("b\n"))
		want("")
		l.Write([]byte("error\n")) // in order, at once
		want("a\nb\nerror\n")
		calls.Write([]byte("c\n"))
		time.Sleep(linger)
		synctest.Wait()
		want("a\nb\nerror\nc\n")
		out.Reset()
		calls.Write([]byte(strings.Repeat("x", most)))
		if out.Len() != most {
			t.Errorf("%d bytes wait", most-out.Len())
		}
		out.Reset()
		calls.Write([]byte("d\n"))
		l.Close()
		calls.Write([]byte("e\n"))
		want("d\ne\n")
	})
}
