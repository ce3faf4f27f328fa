package sse

import "testing"

func TestCut(t *testing.T) {
	for _, test := range []struct {
		in, data string
		n        int
	}{
		{"", "", 0},
		{"data: a", "", 0},
		{"data: a\n", "", 0},
		{"data: a\n\n", "a", 9},
		{"data: a\r\n\r\n", "a", 11},
		{"data: a\r\n\r", "", 0},
		{"data:a\r\rx", "a", 8},
		{"event: ping\ndata: {}\n\ndata: b\n\n", "{}", 22},
		{": waiting\n\n", "", 11},
		{"data\n\n", "", 6},
		{"data: a\ndata: b\n\n", "a\nb", 17},
		{"database: x\n\n", "", 13},
		{"\n", "", 1},
		{"id: 7\ndata:  two spaces\n\n", " two spaces", 25},
	} {
		data, n := Cut([]byte(test.in))
		if string(data) != test.data || n != test.n {
			t.Errorf("Cut(%q) = %q, %d; want %q, %d", test.in, data, n, test.data, test.n)
		}
	}
}

// However a stream is cut on the way, its events are the same.
func FuzzCut(f *testing.F) {
	f.Add([]byte("event: a\r\ndata: 1\r\n\r\n: c\n\ndata: 2\ndata: 3\n\n"), 5)
	f.Add([]byte("data\r\rdata:\n\r\n"), 3)
	f.Fuzz(func(t *testing.T, in []byte, at int) {
		all := func(b []byte) (out []string) {
			for {
				data, n := Cut(b)
				if n == 0 {
					return append(out, string(b))
				}
				if n > len(b) {
					t.Fatalf("%d of %d bytes", n, len(b))
				}
				if data != nil {
					out = append(out, string(data))
				}
				b = b[n:]
			}
		}
		if at < 0 || at > len(in) {
			return
		}
		want := all(in)
		// first what is there, then with the rest behind what was left
		var got []string
		rest := in[:at:at]
		for _, more := range [][]byte{nil, in[at:]} {
			rest = append(rest[:len(rest):len(rest)], more...)
			parts := all(rest)
			got = append(got, parts[:len(parts)-1]...)
			rest = []byte(parts[len(parts)-1])
		}
		got = append(got, string(rest))
		if len(got) != len(want) {
			t.Fatalf("%q in one, %q in two", want, got)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%q in one, %q in two", want, got)
			}
		}
	})
}
