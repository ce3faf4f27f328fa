package extproc_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/extproc/ratelimit"
	"aisix/extproc/usage"
)

// plaintext is the caller's API key.
const plaintext = "sk-golden"

const providerKeyID = "10000000-0000-4000-8000-000000000000"

// snapshotOf is a snapshot whose one model is what model says, as the Admin API
// takes it but for provider_key_id; "" is a wildcard: callers name the model id.
func snapshotOf(t testing.TB, model string) *snapshot.Holder {
	t.Helper()
	if model == "" {
		model = `{"display_name":"*","model_name":"*"}`
	}
	var members map[string]any
	if err := json.Unmarshal([]byte(model), &members); err != nil {
		t.Fatalf("model.json: %v", err)
	}
	members["provider_key_id"] = providerKeyID
	body, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	m, err := resource.Decode(resource.Models, body, nil)
	if err != nil {
		t.Fatalf("model.json: %v", err)
	}
	return holderOf(t,
		snapshot.Row{ID: providerKeyID, Value: &resource.ProviderKey{DisplayName: "p", Provider: "amazon-bedrock", Adapter: "bedrock",
			Credentials: resource.Static{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "secret", Region: "us-west-2"}}},
		snapshot.Row{ID: "20000000-0000-4000-8000-000000000000", Value: m},
		snapshot.Row{ID: "30000000-0000-4000-8000-000000000000", Value: &resource.APIKey{KeyHash: hashOf(plaintext), AllowedModels: []string{"*"}, TeamID: "team", UserID: "user"}},
		snapshot.Row{ID: "40000000-0000-4000-8000-000000000000", Value: &resource.APIKey{KeyHash: hashOf("sk-narrow"), AllowedModels: []string{"nothing"}}})
}

func hashOf(plaintext string) string {
	hash := sha256.Sum256([]byte(plaintext))
	return hex.EncodeToString(hash[:])
}

func holderOf(t testing.TB, rows ...snapshot.Row) *snapshot.Holder {
	t.Helper()
	s, dropped := snapshot.Build(1, rows)
	if len(dropped) > 0 {
		t.Fatal(dropped)
	}
	h := new(snapshot.Holder)
	h.Store(s)
	return h
}

// noLimits must not be asked to reserve anything.
type noLimits struct{ testing.TB }

func (noLimits) Arrive([]ratelimit.Bucket) (*ratelimit.Arrival, error) { return nil, nil }

func (l noLimits) Reserve(context.Context, []ratelimit.Bucket, ratelimit.Amount) (*ratelimit.Reservation, error) {
	l.Error("limits were reserved where none apply")
	return nil, nil
}

// grants is a real limiter that counts how often it was asked.
type grants struct {
	*ratelimit.Limiter
	asked   int // to reserve
	refused int // at arrival
}

func newGrants(t testing.TB, client *redis.Client) *grants {
	t.Helper()
	l := ratelimit.New(client, ratelimit.Options{Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { l.Close(context.Background()) })
	return &grants{Limiter: l}
}

func (g *grants) Arrive(buckets []ratelimit.Bucket) (*ratelimit.Arrival, error) {
	a, err := g.Limiter.Arrive(buckets)
	if err != nil {
		g.refused++
	}
	return a, err
}

func (g *grants) Reserve(ctx context.Context, buckets []ratelimit.Bucket, amount ratelimit.Amount) (*ratelimit.Reservation, error) {
	g.asked++
	return g.Limiter.Reserve(ctx, buckets, amount)
}

// recorded keeps what was recorded.
type recorded struct {
	mu    sync.Mutex
	calls []*usage.Facts
}

func (r *recorded) Record(c *usage.Facts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
}

// one is the call of a test that made one.
func (r *recorded) one(t testing.TB) *usage.Facts {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.calls) != 1 {
		t.Fatalf("%d calls were recorded, want 1", len(r.calls))
	}
	return r.calls[0]
}
