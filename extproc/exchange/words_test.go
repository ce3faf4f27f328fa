package exchange_test

import (
	"bytes"
	"testing"

	"aisix/envoy"
	"aisix/extproc/exchange"
)

// What this package and package envoy say to each other by name is the same on both
// sides: neither may import the other.
func TestWords(t *testing.T) {
	for ours, theirs := range map[string]string{
		exchange.EgressHeader:      envoy.EgressHeader,
		exchange.HostHeader:        envoy.HostHeader,
		string(exchange.TLS):       envoy.EgressTLS,
		string(exchange.Plaintext): envoy.EgressPlaintext,
		exchange.OwnNamespace:      envoy.OwnNamespace,
		exchange.OwnDoor:           envoy.OwnDoor,
		exchange.OwnRequestID:      envoy.OwnRequestID,
		exchange.DoorAnthropic:     envoy.DoorAnthropic,
	} {
		if ours != theirs {
			t.Errorf("%q here, %q in envoy", ours, theirs)
		}
	}
	bootstrap, err := envoy.Bootstrap(envoy.Defaults())
	if err != nil || !bytes.Contains(bootstrap, []byte(`"`+exchange.RejectDetails+`"`)) {
		t.Errorf("Envoy's access log does not know %s (%v)", exchange.RejectDetails, err)
	}
}
