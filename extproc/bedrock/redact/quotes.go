package redact

import (
	"iter"
	"strings"
)

// AWS's messages may quote what they refuse, and no log may hold a prompt or an
// answer: what stands in both, in one piece of at least quoteSize bytes, is
// taken for a quote, in capitals or not. Shorter ones are words that any message
// has.
const (
	quoteSize = 12
	quoted    = "[quoted from the request]"
)

// Quotes is message without what it quotes of the texts, and without its middle
// where it is long. It reads each text once, however often they repeat themselves,
// and no further than there is something left to find.
func Quotes(message string, texts iter.Seq[Text]) string {
	message = shorten(message)
	pieces := pieces(message)
	q := newQuotes(pieces)
	for text := range texts {
		if q.left == 0 {
			break
		}
		if text.form == words {
			read(q, new(piece), text.said)
		} else {
			q.readJSON(text)
		}
	}
	var b strings.Builder
	end := 0 // of the quote so far
	for i := range len(message) {
		if i < len(pieces) && q.said[pieces[i]] {
			if i == 0 || i > end {
				b.WriteString(quoted)
			}
			end = i + quoteSize
		}
		if i >= end {
			b.WriteByte(message[i])
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

// pieces are those that begin at each byte of a message.
func pieces(message string) []piece {
	var all []piece
	var p piece
	for i := range len(message) {
		if p.add(message[i]); i+1 >= quoteSize {
			all = append(all, p)
		}
	}
	return all
}

// quotes are all pieces of a message.
type quotes struct {
	said map[piece]bool // true: in a text too
	left int            // pieces that no text had yet
	// wanted counts those by a hash of their last eight bytes. A text is as long as
	// a body may be: looking for each of its pieces in the map would take a second.
	wanted [1 << 15]uint32
}

func newQuotes(pieces []piece) *quotes {
	q := &quotes{said: map[piece]bool{}}
	for _, p := range pieces {
		q.said[p] = false
	}
	q.left = len(q.said)
	for p := range q.said {
		q.wanted[hash(p.last)]++
	}
	return q
}

// read reads a part of a text; p is what came before it. A piece of a text's
// beginning has zeros before, and a message with zeros loses a word too many.
func read[T string | []byte](q *quotes, p *piece, part T) {
	for i := range len(part) {
		p.add(part[i])
		if q.wanted[hash(p.last)] == 0 {
			continue
		}
		if found, there := q.said[*p]; there && !found {
			q.said[*p] = true
			q.wanted[hash(p.last)]--
			if q.left--; q.left == 0 {
				return
			}
		}
	}
}

// hash is Fibonacci's: the upper bits of a product.
func hash(last uint64) uint64 { return last * 0x9e3779b97f4a7c15 >> 49 }
