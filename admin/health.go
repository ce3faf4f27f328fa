package admin

import (
	"context"
	"net/http"
	"time"

	"aisix/admin/cooling"
	"aisix/admin/resource"
	"aisix/admin/snapshot"
)

// Cooling gives the cool-downs of models' targets, by their ids.
type Cooling interface {
	Read(ctx context.Context) (map[string]cooling.Down, error)
}

// health is what is answered to administrators.
type health struct {
	// All is well with the store.
	Status string `json:"status" of:"ok"`
	// The store-wide write counter.
	Revision int64 `json:"revision" min:"0"`
	// Those of the models that have targets, and of the others those that cool down.
	Targets []targetState `json:"targets,omitempty"`
}

// targetState is how a model's target is.
type targetState struct {
	// The model's alias.
	Model string `json:"model"`
	// Its id.
	ModelID string `json:"model_id"`
	// The target's name. Absent for the only one of a model that has no targets.
	Target string `json:"target,omitempty"`
	// Whether it is well, or at the end of the order since it failed. unknown: that can't be
	// read.
	State string `json:"state" of:"ok cooling unknown"`
	// Why it cools down.
	Reason string `json:"reason,omitempty"`
	// Until when.
	Until *time.Time `json:"until,omitempty"`
}

// health is readyz for administrators: it goes on while the process drains, and tells how
// models' targets are.
func (s *Server) health(a *answer, r *request) error {
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	revision, err := s.store.Revision(ctx)
	if err != nil {
		return err
	}
	h := health{Status: "ok", Revision: revision}
	if s.cooling != nil {
		if h.Targets, err = s.targets(ctx); err != nil {
			return err
		}
	}
	return a.json(http.StatusOK, h)
}

func (s *Server) targets(ctx context.Context) (all []targetState, err error) {
	down, unknown := s.cooling.Read(ctx)
	if unknown != nil {
		s.log.Error("cool-downs of targets can't be read", "error", unknown)
	}
	models, _, err := s.store.List(ctx, resource.Models, "", 0)
	if err != nil {
		return nil, err
	}
	now := s.now()
	for _, e := range models {
		m := e.Value.(*resource.Model)
		state := func(name string) targetState {
			t := targetState{Model: m.DisplayName, ModelID: e.ID, Target: name, State: "ok"}
			if unknown != nil {
				t.State = "unknown"
			} else if d := down[snapshot.TargetID(e.ID, name)]; d.Until.After(now) {
				until := d.Until.UTC()
				t.State, t.Reason, t.Until = "cooling", d.Reason, &until
			}
			return t
		}
		if m.Targets == nil {
			if t := state(""); t.State == "cooling" {
				all = append(all, t)
			}
		}
		for i := range m.Targets {
			all = append(all, state(m.Targets[i].Name))
		}
	}
	return all, nil
}
