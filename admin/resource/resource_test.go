package resource

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aisix/admin/strict"
)

func TestDepth(t *testing.T) {
	body := func(n int) []byte {
		return []byte(change(t, bases[Models], `{"additionalModelRequestFields":{"a":`+strings.Repeat("[", n)+strings.Repeat("]", n)+`}}`))
	}
	if _, err := Decode(Models, body(strict.MaxDepth-2), nil); err != nil {
		t.Errorf("%d deep: %v", strict.MaxDepth, err)
	}
	for _, n := range []int{strict.MaxDepth, 9000, 1_000_000} {
		_, err := Decode(Models, []byte(`{"a":`+strings.Repeat("[", n)+strings.Repeat("]", n)+`}`), nil)
		if err == nil {
			t.Errorf("%d deep was taken", n)
		}
	}
}

// Four times the members take four times the work, not sixteen times. Work is counted
// as this process's processor time: what else runs on the machine does not matter.
func TestDecodingIsLinear(t *testing.T) {
	work := func(members int) time.Duration {
		var text strings.Builder
		for i := range members {
			fmt.Fprintf(&text, `"m%d":1,`, i)
		}
		body := []byte(change(t, bases[Models], `{"additionalModelRequestFields":{`+strings.TrimSuffix(text.String(), ",")+`}}`))
		least := time.Duration(math.MaxInt64)
		for range 3 {
			before := processorTime(t)
			old, err := Decode(Models, body, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Patch(old, body); err != nil {
				t.Fatal(err)
			}
			least = min(least, processorTime(t)-before)
		}
		return least
	}
	if few, many := work(15_000), work(60_000); many > 10*few {
		t.Errorf("60,000 members take %.1f times as much as 15,000", float64(many)/float64(few))
	}
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
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

func TestWhatAStoreKeeps(t *testing.T) {
	until := time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
	for _, r := range []Resource{
		&ProviderKey{DisplayName: "k", Provider: "p", Adapter: "bedrock", Credentials: Static{AccessKeyID: "AKIA", SecretAccessKey: "hidden", SessionToken: "hidden too", Region: "us-west-2"}},
		&ProviderKey{DisplayName: "k", Credentials: Static{AccessKeyID: "AKIA", SecretAccessKey: "hidden", Region: "r"}},
		&Model{DisplayName: "m", ModelName: "x", ProviderKeyID: "1"},
		&APIKey{KeyHash: aHash, AllowedModels: []string{"*"}},
		&APIKey{KeyHash: aHash, AllowedModels: []string{}, Previous: &PreviousKey{KeyHash: "b", ValidUntil: until}},
	} {
		kept, err := Keep(r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(kept.Value)+string(kept.Beside), "hidden") {
			t.Errorf("a secret is kept in clear: %s %s", kept.Value, kept.Beside)
		}
		back, err := kept.Resource(r.Kind())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, back); diff != "" {
			t.Errorf("-put +got:\n%s", diff)
		}
	}
	// Sealed before a secret had a type: it is static.
	k := Kept{Value: []byte(`{"display_name":"k"}`), Secret: []byte(`{"access_key_id":"AKIA","secret_access_key":"hidden","region":"r"}`)}
	old, err := k.Resource(ProviderKeys)
	if err != nil || old.(*ProviderKey).Credentials != (Static{AccessKeyID: "AKIA", SecretAccessKey: "hidden", Region: "r"}) {
		t.Errorf("%+v, %v", old, err)
	}
	for secret, kind := range map[string]Kind{"": ProviderKeys, `{"type":"later","key":"hidden"}`: ProviderKeys, `hidden`: ProviderKeys, "{}": "unheard"} {
		k.Secret = []byte(secret)
		if secret == "" {
			k.Secret = nil
		}
		if r, err := k.Resource(kind); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %+v, %v", secret, r, err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	c := Static{AccessKeyID: "AKIA", SecretAccessKey: "hidden", SessionToken: "hidden"}
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
