package jsonappend

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// library is what encoding/json writes.
func library(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func same(t *testing.T, v any, got []byte) {
	t.Helper()
	if want := library(t, v); string(got) != "x"+want {
		t.Errorf("%q: %s\nwant %s", v, got[1:], want)
	}
}

func TestString(t *testing.T) {
	for _, s := range []string{"", "a", "12345678", "1234567\"", "1234567\\8", "\x1f2345678", "1234567\x7f", "<>&", "\b\f\n\r\t\x00", "ä", "12345678ä\u2028\u2029", "\xff", "12345678\xc3", "\ufffd", "\U0001f600", strings.Repeat("long text ", 100) + "\n" + strings.Repeat("more ", 50)} {
		same(t, s, String([]byte("x"), s))
	}
	// Each byte at each place of an octet, alone and behind one that has to be escaped.
	for c := range 256 {
		for at := range 9 {
			b := []byte("aaaaaaaaaaaaaaaa")
			b[at] = byte(c)
			same(t, string(b), String([]byte("x"), string(b)))
			same(t, "\n"+string(b), String([]byte("x"), "\n"+string(b)))
		}
	}
}

func FuzzString(f *testing.F) {
	f.Add("text \u2028 \xff\"")
	f.Fuzz(func(t *testing.T, s string) { same(t, s, String([]byte("x"), s)) })
}

func FuzzRaw(f *testing.F) {
	for _, s := range []string{`{}`, ` { "a b" : [ 1 , "\" \\" , null ] } `, "\"a\tb\"", "[1.50 ,\n\r\t2]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if json.Valid(raw) {
			same(t, json.RawMessage(raw), Raw([]byte("x"), raw))
		}
	})
}

func TestFloat(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	numbers := []float64{0, math.Copysign(0, -1), 1, 0.1, 0.7, 1e-6, 9e-7, 1e-9, 1e-10, 1e21, 1e20, 1.5e300, math.MaxFloat64, math.SmallestNonzeroFloat64}
	for range 2000 {
		numbers = append(numbers, r.NormFloat64()*math.Pow10(r.IntN(60)-30))
	}
	for _, f := range numbers {
		same(t, f, Float([]byte("x"), f, 64))
		if f := float32(f); !math.IsInf(float64(f), 0) {
			same(t, f, Float([]byte("x"), float64(f), 32))
		}
	}
}

func TestBase64(t *testing.T) {
	for n := range 70 {
		data := bytes.Repeat([]byte{0xfb, byte(n)}, n)[:n]
		same(t, data, Base64([]byte("x"), data))
	}
}

func TestAllocations(t *testing.T) {
	dst, text, raw := make([]byte, 0, 1<<12), strings.Repeat("text\n", 100), []byte(`{"a": [1, 2]}`)
	if n := testing.AllocsPerRun(100, func() {
		b := String(dst, text)
		b = Raw(b, raw)
		Float(b, 0.7, 64)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
