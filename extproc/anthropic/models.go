package anthropic

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"aisix/extproc/chat"
	"aisix/extproc/fault"
)

// Models is the dialect of GET /v1/models and GET /v1/models/{id}, for clients that send an
// anthropic-version.
type Models struct{ API }

type modelObject struct {
	Type        string `json:"type"`
	ID          string `json:"id"`
	DisplayName string `json:"display_name"`
	CreatedAt   string `json:"created_at"`
}

type modelList struct {
	Data    []modelObject `json:"data"`
	HasMore bool          `json:"has_more"`
	FirstID *string       `json:"first_id"`
	LastID  *string       `json:"last_id"`
}

// The length of a page.
const (
	pageSize    = 20
	maxPageSize = 1000
)

// List is a page of the models, in the order given: limit of them, behind after_id, or the last
// ones ahead of before_id.
func (Models) List(models []chat.Model, query url.Values) ([]byte, error) {
	limit := pageSize
	if query.Has("limit") {
		n, err := strconv.Atoi(query.Get("limit"))
		if err != nil || n < 1 || n > maxPageSize {
			return nil, fault.Invalid("limit", "limit: must be an integer between 1 and %d", maxPageSize)
		}
		limit = n
	}
	after, before := query.Get("after_id"), query.Get("before_id")
	if after != "" && before != "" {
		return nil, fault.Invalid("before_id", "before_id: must not be given beside after_id")
	}
	place := func(name, id string) (int, error) {
		i := slices.IndexFunc(models, func(m chat.Model) bool { return m.ID == id })
		if i < 0 {
			return 0, fault.Invalid(name, "%s: there is no such model", name)
		}
		return i, nil
	}
	from, to, more := 0, 0, false
	switch {
	case before != "":
		i, err := place("before_id", before)
		if err != nil {
			return nil, err
		}
		from, to = max(i-limit, 0), i
		more = from > 0
	default:
		if after != "" {
			i, err := place("after_id", after)
			if err != nil {
				return nil, err
			}
			from = i + 1
		}
		to = min(from+limit, len(models))
		more = to < len(models)
	}
	list := modelList{Data: make([]modelObject, 0, to-from), HasMore: more}
	for _, m := range models[from:to] {
		list.Data = append(list.Data, newModelObject(m))
	}
	if n := len(list.Data); n > 0 {
		list.FirstID, list.LastID = &list.Data[0].ID, &list.Data[n-1].ID
	}
	return unescaped(list)
}

// Object is the answer of GET /v1/models/{id}.
func (Models) Object(m chat.Model) ([]byte, error) { return unescaped(newModelObject(m)) }

func newModelObject(m chat.Model) modelObject {
	created := m.Created
	if created.Unix() < 0 {
		created = time.Unix(0, 0)
	}
	return modelObject{Type: "model", ID: m.ID, DisplayName: m.ID, CreatedAt: created.UTC().Format(time.RFC3339)}
}
