package redact

import (
	"iter"
	"slices"
	"strings"
)

// AWS's messages may quote what they refuse, and no log may hold a prompt or an
// answer: what stands in both, in one piece of at least quoteSize bytes, is
// taken for a quote, in capitals or not, whatever spaces and quotation marks it
// has, and however the message writes it (readings.go). Shorter ones are words that any
// message has.
const (
	quoteSize = 12
	quoted    = "[quoted from the request]"
	marks     = " .:,;!?'\"`" // around a sentence
)

// Quotes is message without what it quotes of the texts, and without its middle
// where it is long. It reads each text once, however often they repeat themselves,
// and no further than there is something left to find.
func Quotes(message string, texts iter.Seq[Text]) string {
	message = shorten(message)
	q := &quotes{said: map[piece]bool{}}
	all := readings(message)
	for _, r := range all {
		for _, p := range r.pieces() {
			q.want(p)
		}
	}
	for text := range texts {
		if q.left == 0 {
			break
		}
		if text.form == words {
			read(q, new(tail), text.said)
		} else {
			q.readJSON(text)
		}
	}
	gone := make([]bool, len(message))
	for _, r := range all {
		for i, p := range r.pieces() {
			if q.said[p] {
				first, last := r.within(i, i+quoteSize-1)
				for at := r.from[first]; at < r.to[last]; at++ {
					gone[at] = true
				}
			}
		}
	}
	var aws [][]int
	if slices.Contains(gone, true) { // looking for them takes longer than most texts
		aws = own().FindAllStringIndex(message, -1)
	}
	for _, at := range aws {
		from, to := at[0], at[1]
		for from > 0 && at[0]-from < 3 && strings.IndexByte(marks, message[from-1]) >= 0 {
			from--
		}
		for to < len(message) && to-at[1] < 3 && strings.IndexByte(marks, message[to]) >= 0 {
			to++
		}
		clear(gone[from:to])
	}
	for _, at := range opaque.FindAllStringIndex(message, -1) { // of a picture, say, whose bytes are no longer there
		if mixed(message[at[0]:at[1]]) {
			for i := at[0]; i < at[1]; i++ {
				gone[i] = true
			}
		}
	}
	var b strings.Builder
	for i := range len(message) {
		if !gone[i] {
			b.WriteByte(message[i])
		} else if i == 0 || !gone[i-1] {
			b.WriteString(quoted)
		}
	}
	return strings.ToValidUTF8(b.String(), "")
}

// piece is the last quoteSize bytes of what was read so far, capitals as small
// letters.
type piece struct {
	first uint32 // the four before the last
	last  uint64 // eight
}

func (p *piece) add(c byte) {
	p.first, p.last = p.first<<8|uint32(p.last>>56), p.last<<8|uint64(lower[c])
}

// tail is the end of what was read so far, as it is and bare.
type tail struct{ plain, bare piece }

// between reports whether c is left out of what is bare: who quotes a text may change its spaces
// and quotation marks, and + is a space in HTML forms.
func between(c byte) bool {
	switch c {
	case ' ', '\n', '\r', '\t', '"', '\'', '`', '\\', '+':
		return true
	}
	return false
}

// lower are the bytes with ASCII's capitals as small letters.
var lower = func() (table [256]byte) {
	for i := range table {
		table[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			table[i] += 'a' - 'A'
		}
	}
	return table
}()

// quotes are all pieces of a message.
type quotes struct {
	said map[piece]bool // true: in a text too
	left int            // pieces that no text had yet
	// wanted counts those by a hash of their last eight bytes. A text is as long as
	// a body may be: looking for each of its pieces in the map would take a second.
	wanted [1 << 15]uint32
}

func (q *quotes) want(p piece) {
	if _, there := q.said[p]; !there {
		q.said[p] = false
		q.left++
		q.wanted[hash(p.last)]++
	}
}

// read reads a part of a text; t is the end of what came before it. A piece of a text's
// beginning has zeros before, and a message with zeros loses a word too many.
func read[T string | []byte](q *quotes, t *tail, part T) {
	for i := range len(part) {
		c := part[i]
		if t.plain.add(c); q.wanted[hash(t.plain.last)] != 0 {
			q.found(t.plain)
		}
		if between(c) {
			continue
		}
		if t.bare.add(c); q.wanted[hash(t.bare.last)] != 0 {
			q.found(t.bare)
		}
		if q.left == 0 {
			return
		}
	}
}

func (q *quotes) found(p piece) {
	if was, there := q.said[p]; there && !was {
		q.said[p] = true
		q.wanted[hash(p.last)]--
		q.left--
	}
}

// hash is Fibonacci's: the upper bits of a product.
func hash(last uint64) uint64 { return last * 0x9e3779b97f4a7c15 >> 49 }
