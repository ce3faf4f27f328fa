package extproc

import (
	lru "github.com/hashicorp/golang-lru/v2"

	"aisix/admin/resource"
	"aisix/extproc/bedrock"
)

// How many compiled models are kept: more are compiled again. Models are as many as
// were made, of less than a kilobyte each. Captures of wildcards are as many as callers like:
// they have a bound of their own, so that no caller drives out the others' models.
const (
	maxCompiled = 1 << 16
	maxCaptured = 4096
)

// target is a model that a call may use, by all that Compile makes it of. Resources
// never change: what a write changes has another address in the next snapshot.
type target struct {
	model *resource.Model
	key   *resource.ProviderKey
	id    string // of the model at the upstream, a wildcard's capture filled in
}

// targets compiles each model once per revision of it and its provider key, and
// once per captured id. What is no longer in force goes as others come.
type targets struct {
	named, captured *lru.Cache[target, *bedrock.Model]
}

func newTargets() targets {
	named, _ := lru.New[target, *bedrock.Model](maxCompiled) // fails without a size only
	captured, _ := lru.New[target, *bedrock.Model](maxCaptured)
	return targets{named, captured}
}

func (t targets) compiled(of *resource.Model, key *resource.ProviderKey, id string) (*bedrock.Model, error) {
	at := target{of, key, id}
	kept := t.named
	if at.id != at.model.ModelName {
		kept = t.captured
	}
	if model, ok := kept.Get(at); ok {
		return model, nil
	}
	model, err := bedrock.Compile(at.model, at.id, at.key)
	if err == nil {
		kept.Add(at, model)
	}
	return model, err
}
