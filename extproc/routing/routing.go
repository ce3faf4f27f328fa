// Package routing knows in which order a model's targets are asked, and which of them are
// not well.
//
// A Board is what a process knows of targets that failed: a target that throttles, or fails
// several times in a short while, cools down, which puts it at the end of every order and
// never out of it. Processes share that through Redis (package cooling), learnt and told in
// the background: no call waits for it, and without Redis each process goes by its own. The
// order itself is by priority, and inside one priority by weight: the same conversation has
// the same order wherever it is asked (weighted rendezvous hashing).
//
// It knows no model, no HTTP and no AWS: targets are ids. Caller: extproc.
package routing

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Target is what an order is made by.
type Target struct {
	ID       string
	Weight   int
	Priority int
}

// place is where a target stands in an order.
type place struct {
	index    int
	until    time.Time // of its cool-down; zero is none
	priority int
	score    float64
}

// Order is the indices of targets in the order in which they are asked for a conversation:
// those that are well first, then the lowest priority, then as conversation and weights have
// it. Targets that cool down stand behind, those that are through with it first before the others.
func (b *Board) Order(targets []Target, conversation uint64) []int {
	now := b.now()
	places := make([]place, len(targets))
	for i, t := range targets {
		places[i] = place{i, b.until(t.ID, now), t.Priority, score(conversation, t)}
	}
	slices.SortStableFunc(places, func(x, y place) int {
		if x.until.IsZero() != y.until.IsZero() {
			if x.until.IsZero() {
				return -1
			}
			return 1
		}
		return cmp.Or(x.until.Compare(y.until), cmp.Compare(x.priority, y.priority), cmp.Compare(x.score, y.score))
	})
	order := make([]int, len(places))
	for i, p := range places {
		order[i] = p.index
	}
	return order
}

// score is lower for one of two targets as often as its weight says: the time of the first
// event at that rate.
func score(conversation uint64, t Target) float64 {
	if t.Weight <= 0 {
		return math.Inf(1)
	}
	u := (float64(mix(hash(t.ID)^mix(conversation))>>11) + 0.5) / (1 << 53)
	return -math.Log(u) / float64(t.Weight)
}

// hash is FNV-1a's of 64 bits, as hash/fnv has it, without an allocation for each target.
func hash(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return h
}

// mix spreads what differs in a few bits over all of them (SplitMix64's last step).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
