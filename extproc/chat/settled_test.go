package chat

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// talkOf is a conversation in which something may be untidy, and mostly is not.
func talkOf(r *rand.Rand) *Request {
	rare := func() bool { return r.IntN(25) == 0 }
	out := &Request{}
	blocks := func(of ...Block) (all []Block) {
		for _, b := range of {
			if rare() {
				all = append(all, []Block{Text{Text: " "}, CachePoint{}, Thinking{Text: "unsigned"}}[r.IntN(3)])
			}
			all = append(all, b)
			if r.IntN(4) == 0 {
				all = append(all, CachePoint{TTL: "1h"})
			}
		}
		return all
	}
	add := func(role Role, b ...Block) {
		m := Message{Role: role, Blocks: b}
		if r.IntN(2) == 0 {
			m.Param = fmt.Sprintf("messages[%d]", 7+len(out.Messages))
		}
		out.Messages = append(out.Messages, m)
	}
	if r.IntN(2) == 0 {
		out.System = blocks(Text{Text: "be brief"}, Text{Text: "be kind"})
	}
	add(User, blocks(Text{Text: "q"}, Image{Format: "png", Data: []byte{1}})...)
	for i := range r.IntN(4) {
		said := []Block{Thinking{Text: "hm", Signature: "s"}, Text{Text: "well"}}
		var results []Block
		for j := range r.IntN(3) {
			id := fmt.Sprintf("call_%d_%d", i, j)
			input := `{"a":[1,"x"]}`
			if rare() {
				input = []string{"", " {}", "[1]", `{"cut`, `{"a"}`}[r.IntN(5)]
			}
			said = append(said, ToolUse{ID: id, Name: "f", Input: json.RawMessage(input)})
			inner := blocks(Text{Text: "1"})
			if rare() {
				inner = nil
			}
			results = append(results, ToolResult{ID: id, Blocks: inner})
		}
		if rare() {
			r.Shuffle(len(results), func(a, b int) { results[a], results[b] = results[b], results[a] })
		}
		add(Assistant, blocks(said...)...)
		if rare() {
			add(System, Text{Text: "by the way"})
		}
		if len(results) > 1 && rare() {
			add(User, results[0])
			results = results[1:]
		}
		results = append(results, Text{Text: "and now?"})
		if len(results) > 1 && rare() {
			results[0], results[len(results)-1] = results[len(results)-1], results[0]
		}
		add(User, blocks(results...)...)
	}
	if rare() {
		add(Assistant, Text{Text: "so: \n"})
	}
	if rare() {
		out.Cache = &CachePoint{}
	}
	return out
}

// What Tidy copies without a look at its turns, it would give the same with one, and
// what it gives is so copied.
func TestSettled(t *testing.T) {
	copies, others := 0, 0
	for seed := range uint64(4000) {
		r := talkOf(rand.New(rand.NewPCG(seed, 3)))
		if Check(r) != nil {
			continue
		}
		want, err := rearranged(r)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !settled(r) {
			others++
		} else {
			copies++
			got := copied(r)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d: %s", seed, diff)
			}
			own(t, r, got)
		}
		system := slices.ContainsFunc(want.Messages, func(m Message) bool { return m.Role == System })
		if last := want.Messages[len(want.Messages)-1]; last.Role == User && !system && !settled(want) {
			t.Errorf("seed %d: a tidy request is not settled: %+v", seed, want)
		}
	}
	if copies < 300 || others < 300 {
		t.Errorf("%d settled, %d others", copies, others)
	}
}

// own fails where a change of the copy would be one of r, or of another block.
func own(t *testing.T, r, got *Request) {
	t.Helper()
	before, _ := json.Marshal(r)
	change := func(blocks []Block) {
		for i := range blocks {
			if result, ok := blocks[i].(ToolResult); ok {
				for j := range result.Blocks {
					result.Blocks[j] = Text{Text: "changed"}
				}
			}
			blocks[i] = Text{Text: "changed"}
		}
		_ = append(blocks, Text{Text: "more"}) // must not reach a neighbour
	}
	change(got.System)
	for i := range got.Messages {
		change(got.Messages[i].Blocks)
		if i+1 < len(got.Messages) && cmp.Equal(got.Messages[i+1].Blocks[0], Block(Text{Text: "more"})) {
			t.Error("blocks of two messages overlap")
		}
	}
	if after, _ := json.Marshal(r); string(before) != string(after) {
		t.Errorf("the request was changed: %s", after)
	}
}
