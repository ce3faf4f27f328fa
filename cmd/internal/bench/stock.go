package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/sync/errgroup"

	"aisix/cmd/internal/stack"
)

// A stock is how many API keys and models (of Claude; there is one Nova) a gateway
// has. Requests name them at random, so that what is remembered of one is no use for
// the next.
type stock struct {
	keys, models int
	tls          bool // to the upstream
}

// The sizes of numbers in the names of keys and models.
const (
	keyDigits   = 6
	modelDigits = 5
)

func (s stock) asks() asks {
	return asks{keys: s.keys, models: s.models, answer: answerOpenAI}
}

func keyName(n int) string                { return fmt.Sprintf("sk-bench-%0*d", keyDigits, n) }
func modelName(kind string, n int) string { return fmt.Sprintf("%s-%0*d", kind, modelDigits, n) }

// A kind of model is asked by another of Bedrock's APIs.
const (
	kindClaude = "claude"
	kindNova   = "nova"
	kindMantle = "mantle" // Claude by Messages, as bedrock-mantle has it
	kindGPT    = "gpt"    // by Responses
)

var modelIDs = map[string]string{kindClaude: "anthropic.claude-3-5-sonnet-20241022-v2:0", kindNova: "amazon.nova-pro-v1:0", kindMantle: "anthropic.claude-sonnet-4-5", kindGPT: "openai.gpt-5.5"}

// modelAPIs are the upstream APIs of those that are not asked by Bedrock's own.
var modelAPIs = map[string]string{kindMantle: "messages", kindGPT: "responses"}

// writers is how many writes are under way at a time.
const writers = 16

// fill makes the resources through the Admin API. Each key has limits that no request
// reaches: of requests and of tokens a minute.
func (s stock) fill(ctx context.Context, gw *stack.Stack, base string) error {
	a := &adminAPI{url: gw.AdminURL(), key: gw.Config.Admin.Key.Reveal(), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: writers}}}
	defer a.client.CloseIdleConnections()
	providerKey, err := a.create(ctx, "provider_keys", map[string]any{
		"display_name": "bench", "provider": "amazon-bedrock", "adapter": "bedrock", "api_base": base,
		"secret": `{"access_key_id":"AKIAEXAMPLE0123456789","secret_access_key":"bench","region":"us-east-1"}`,
	})
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	model := func(kind string, n int) {
		group.Go(func() error {
			model := map[string]any{
				"display_name": modelName(kind, n), "provider": "amazon-bedrock", "model_name": modelIDs[kind], "provider_key_id": providerKey,
			}
			if api := modelAPIs[kind]; api != "" {
				model["api"], model["host"] = api, "mantle"
			}
			_, err := a.create(ctx, "models", model)
			return err
		})
	}
	for n := range s.models {
		model(kindClaude, n)
	}
	model(kindNova, 0)
	model(kindMantle, 0)
	model(kindGPT, 0)
	for n := range s.keys {
		group.Go(func() error {
			hash := sha256.Sum256([]byte(keyName(n)))
			_, err := a.create(ctx, "apikeys", map[string]any{
				"key_hash": hex.EncodeToString(hash[:]), "allowed_models": []string{kindClaude + "-*", kindNova + "-*", kindMantle + "-*", kindGPT + "-*"},
				"rate_limit": map[string]int64{"rpm": 1e9, "tpm": 1e12},
			})
			return err
		})
	}
	return group.Wait()
}

// adminAPI is the Admin API of one gateway.
type adminAPI struct {
	url, key string
	client   *http.Client
}

// create makes a resource and returns its id.
func (a *adminAPI) create(ctx context.Context, collection string, value map[string]any) (id string, err error) {
	body, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/admin/v1/"+collection, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+a.key)
	r.Header.Set("Content-Type", "application/json")
	response, err := a.client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	var entry struct{ ID string }
	if response.StatusCode >= 300 || json.Unmarshal(answer, &entry) != nil || entry.ID == "" {
		return "", fmt.Errorf("POST %s: %s: %s", collection, response.Status, answer)
	}
	return entry.ID, nil
}
