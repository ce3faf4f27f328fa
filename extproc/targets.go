package extproc

import (
	lru "github.com/hashicorp/golang-lru/v2"

	"aisix/admin/resource"
	"aisix/admin/snapshot"
	"aisix/extproc/bedrock"
)

// maxCompiled is how many compiled models are kept: more are compiled again, which
// costs a call some 20 µs.
const maxCompiled = 4096

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
	kept *lru.Cache[target, *bedrock.Model]
}

func newTargets() targets {
	kept, _ := lru.New[target, *bedrock.Model](maxCompiled) // fails without a size only
	return targets{kept}
}

func (t targets) compiled(m *snapshot.Match) (*bedrock.Model, error) {
	at := target{m.Model, m.ProviderKey, m.UpstreamID}
	if model, ok := t.kept.Get(at); ok {
		return model, nil
	}
	model, err := bedrock.Compile(at.model, at.id, at.key)
	if err == nil {
		t.kept.Add(at, model)
	}
	return model, err
}
