package openai

import "time"

// Model is one model as a caller sees it.
type Model struct {
	ID      string // the alias, as written in the model resource
	Created time.Time
	OwnedBy string
}

type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

type modelList struct {
	Object string        `json:"object"`
	Data   []modelObject `json:"data"`
}

// ModelList is the answer of GET /v1/models, in the order given.
func ModelList(models []Model) ([]byte, error) {
	list := modelList{Object: "list", Data: make([]modelObject, 0, len(models))}
	for _, m := range models {
		list.Data = append(list.Data, m.object())
	}
	return marshal(list)
}

// ModelObject is the answer of GET /v1/models/{id}.
func ModelObject(m Model) ([]byte, error) { return marshal(m.object()) }

func (m Model) object() modelObject {
	return modelObject{ID: m.ID, Object: "model", Created: max(m.Created.Unix(), 0), OwnedBy: m.OwnedBy}
}
