package bootstrap

import (
	"bytes"
	"testing"

	"aisix/cmd/internal/certtest"
)

// Envoy is told addresses, and extproc's certificate is for what the operator has written: a certificate
// for localhost is as good as one for 127.0.0.1. Nobody else's name gets a second one.
func TestLocalhostIsANameOfExtproc(t *testing.T) {
	cert, key := certtest.New(t)
	for address, want := range map[string][2]int{
		"localhost:3002":   {1, 1},
		"127.0.0.1:3002":   {1, 1},
		"[::1]:3002":       {1, 1},
		"10.1.2.3:3002":    {1, 0},
		"extproc.svc:3002": {0, 0},
	} {
		text, err := Text(load(t, "AISIX_EXTPROC__ADDRESSES="+address,
			"AISIX_PROXY__EXTPROC_CA_FILE="+cert, "AISIX_PROXY__EXTPROC_CERT_FILE="+cert, "AISIX_PROXY__EXTPROC_KEY_FILE="+key))
		if err != nil {
			t.Fatal(err)
		}
		// Once wherever Envoy checks extproc's certificate.
		checks := bytes.Count(text, []byte("match_typed_subject_alt_names:"))
		got := [2]int{bytes.Count(text, []byte("san_type: IP_ADDRESS")), bytes.Count(text, []byte("exact: localhost"))}
		if checks == 0 || got != [2]int{want[0] * checks, want[1] * checks} {
			t.Errorf("%s: in %d checks %d addresses and %d times localhost", address, checks, got[0], got[1])
		}
	}
}
