package sim

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"sync"
)

// issues remembers the turns with reasoning that the simulator gave out, so that one that comes back
// in another order is found, as Claude finds it.
type issues struct {
	mu    sync.Mutex
	turns map[string]issuedTurn // by the mark of each of their reasoning blocks
}

// issuedTurn is the marks of a turn's blocks up to the last reasoning block. What comes after it may
// change: a call for structured output comes back as a text.
type issuedTurn []string

const maxIssued = 10_000

// note keeps the blocks of an answer, and of those behind its reasoning so many more.
func (s *issues) note(blocks []block, more int) {
	var turn issuedTurn
	last := 0
	for _, b := range blocks {
		m := b.mark()
		if m == "" {
			continue
		}
		turn = append(turn, m)
		if b.kind == "thinking" || b.kind == "redacted" {
			last = len(turn)
		}
	}
	if last > 0 {
		turn = turn[:min(last+more, len(turn))]
	} else {
		turn = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turns == nil || len(s.turns) > maxIssued {
		s.turns = map[string]issuedTurn{}
	}
	for _, m := range turn {
		if reasons(m) {
			s.turns[m] = turn
		}
	}
}

// broken is the index of the first reasoning block whose turn is not as it was given out, -1 where
// there is none. Two turns may stand one after the other: what was between them may have gone.
func (s *issues) broken(blocks []wishBlock) int {
	if s == nil {
		return -1
	}
	var marks []string
	var index []int
	for j, b := range blocks {
		if m := b.mark(); m != "" {
			marks, index = append(marks, m), append(index, j)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := 0; k < len(marks); k++ {
		turn, ok := s.turns[marks[k]]
		if !ok {
			continue
		}
		begin := k
		for p, m := range turn {
			if m == marks[k] {
				begin = k - p
				break
			}
		}
		if begin < 0 || begin+len(turn) > len(marks) {
			return index[k]
		}
		for p, m := range turn {
			if marks[begin+p] != m {
				return index[max(k, begin+p)]
			}
		}
		k = begin + len(turn) - 1
	}
	return -1
}

// misplaced is the index of the first reasoning block that is followed by something else than what it led
// to, -1 where there is none. A turn that broke off may end with reasoning, and be followed by its next try.
func (s *issues) misplaced(blocks []wishBlock) int {
	if s == nil {
		return -1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for j := 0; j+1 < len(blocks); j++ {
		next := blocks[j+1].mark()
		if next == "" || reasons(next) {
			continue
		}
		turn := s.turns[blocks[j].mark()]
		for p := 0; p+1 < len(turn); p++ {
			if turn[p] == blocks[j].mark() && turn[p+1] != next {
				return j
			}
		}
	}
	return -1
}

// reasons reports whether a mark is of reasoning.
func reasons(mark string) bool {
	return strings.HasPrefix(mark, "thinking ") || strings.HasPrefix(mark, "redacted ")
}

// mark identifies a block in both shapes; "" is one that says nothing, or reasoning without a
// signature, which nobody takes back.
func (b block) mark() string {
	switch b.kind {
	case "thinking":
		return signed(b.signature)
	case "redacted":
		return "redacted " + base64.StdEncoding.EncodeToString(b.data)
	case "tool":
		return "tool"
	}
	return textMark(b.text)
}

func (b wishBlock) mark() string {
	switch b.kind {
	case "thinking":
		return signed(b.signature)
	case "redacted":
		return "redacted " + b.data
	case "tool_use":
		return "tool"
	case "text":
		if blank(b.text) {
			return ""
		}
		return textMark(b.text)
	}
	return ""
}

func signed(signature string) string {
	if signature == "" {
		return ""
	}
	return "thinking " + signature
}

// textMark: a text loses white space at its end on the way.
func textMark(s string) string {
	sum := sha256.Sum256([]byte(strings.TrimSpace(s)))
	return "text " + string(sum[:])
}
