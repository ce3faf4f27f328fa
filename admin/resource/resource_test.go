package resource

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestDepth(t *testing.T) {
	body := func(n int) []byte {
		return []byte(change(t, bases[Models], `{"additionalModelRequestFields":{"a":`+strings.Repeat("[", n)+strings.Repeat("]", n)+`}}`))
	}
	if _, err := Decode(Models, body(maxDepth-2), nil); err != nil {
		t.Errorf("%d deep: %v", maxDepth, err)
	}
	for _, n := range []int{maxDepth, 9000, 1_000_000} {
		_, err := Decode(Models, []byte(`{"a":`+strings.Repeat("[", n)+strings.Repeat("]", n)+`}`), nil)
		if err == nil {
			t.Errorf("%d deep was taken", n)
		}
	}
}

// A body of many members takes a moment, not minutes: some tens of times as long as
// encoding/json does, where a quadratic way takes hundreds.
func TestDecodingIsLinear(t *testing.T) {
	var members strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&members, `"m%d":1,`, i)
	}
	many := []byte(change(t, bases[Models], `{"additionalModelRequestFields":{`+strings.TrimSuffix(members.String(), ",")+`}}`))
	start := time.Now()
	var v any
	if err := json.Unmarshal(many, &v); err != nil {
		t.Fatal(err)
	}
	unit := time.Since(start)
	start = time.Now()
	old, err := Decode(Models, many, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Patch(old, many); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 100*unit {
		t.Errorf("decoding and patching %d bytes took %v, %.0f times as long as encoding/json", len(many), took, float64(took)/float64(unit))
	} else {
		t.Logf("%.0f times as long as encoding/json", float64(took)/float64(unit))
	}
}

func TestAPutKeepsTheSecretAndTheKeyHash(t *testing.T) {
	old, err := Decode(ProviderKeys, []byte(bases[ProviderKeys]), nil)
	if err != nil {
		t.Fatal(err)
	}
	next, err := Decode(ProviderKeys, []byte(`{"display_name":"renamed"}`), old)
	if err != nil {
		t.Fatal(err)
	}
	if got := next.(*ProviderKey); got.Credentials != old.(*ProviderKey).Credentials || got.DisplayName != "renamed" {
		t.Errorf("%+v", got)
	}
	key := &APIKey{KeyHash: aHash, Previous: &PreviousKey{KeyHash: strings.Repeat("b", 64)}, TeamID: "gone"}
	next, err = Decode(APIKeys, []byte(`{"allowed_models":[]}`), key)
	if err != nil {
		t.Fatal(err)
	}
	if got := next.(*APIKey); got.KeyHash != aHash || got.Previous != key.Previous || got.TeamID != "" {
		t.Errorf("%+v", got)
	}
	next, err = Decode(APIKeys, []byte(`{"key_hash":"`+strings.Repeat("c", 64)+`","allowed_models":[]}`), key)
	if err != nil {
		t.Fatal(err)
	}
	if got := next.(*APIKey); got.Previous != nil {
		t.Error("the grace of a key outlived a new hash")
	}
}

func TestDecodeRotation(t *testing.T) {
	for body, want := range map[string]time.Duration{"": 0, "{}": 0, `{"grace_seconds":null}`: 0, `{"grace_seconds":0}`: 0, `{"grace_seconds":90}`: 90 * time.Second, `{"grace_seconds":31536000}`: 365 * 24 * time.Hour} {
		if got, err := DecodeRotation([]byte(body)); err != nil || got != want {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
	for _, body := range []string{"[]", "null", "{", `{"grace_seconds":-1}`, `{"grace_seconds":31536001}`, `{"grace_seconds":"1"}`, `{"grace_seconds":1.5}`, `{"grace":1}`, `{"grace_seconds":1,"grace_seconds":1}`} {
		if got, err := DecodeRotation([]byte(body)); err == nil {
			t.Errorf("%s gave %v", body, got)
		}
	}
}

func TestDecodeOverride(t *testing.T) {
	b, err := DecodeOverride("guardrailConfig", []byte(`{"guardrailIdentifier":"abc","guardrailVersion":"1"}`))
	if err != nil || b.GuardrailConfig.Identifier != "abc" {
		t.Fatal(b, err)
	}
	for name, raw := range map[string]string{
		"guardrailConfig":              `{"guardrailIdentifier":"abc"}`,
		"performanceConfig":            `{"latency":"fast"}`,
		"serviceTier":                  `"flex"`,
		"additionalModelRequestFields": `[]`,
		"requestMetadata":              `{"a":"!"}`,
		"anthropic_beta":               `"x"`,
		"unheard":                      `1`,
	} {
		if b, err := DecodeOverride(name, []byte(raw)); err == nil {
			t.Errorf("%s %s gave %+v", name, raw, b)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	c := Credentials{AccessKeyID: "AKIA", SecretAccessKey: "hidden", SessionToken: "hidden"}
	marshalled, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", c.SecretAccessKey, "credentials", c)
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c.SecretAccessKey, c.SecretAccessKey), string(marshalled), log.String()} {
		if strings.Contains(text, "hidden") {
			t.Errorf("printed: %s", text)
		}
	}
}
