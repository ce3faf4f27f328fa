// Package ledger keeps usage records and their totals in Redis.
//
// It knows the keys, how a batch is appended, and how totals are read; it does
// not know where records come from or who may ask. All its keys share one hash
// tag, so that a batch is one script on one node of a cluster:
//
//	{aisix:usage}:records          stream; field "r" is the bytes of one aisix.v1.Record
//	{aisix:usage}:totals:<day>     hash "<key id>\n<model>\n<count>" -> number; UTC day
//	{aisix:usage}:batch:<id>       mark of a batch: "1" once it was appended, "<steps done>/<of>" before
//	{aisix:usage}:aside:<id>:…     what stood in a batch's way and was not ours
//
// What somebody else wrote under these names costs nobody a record or an answer:
// an append sets it aside, a query passes over it, and both log it. Callers:
// extproc/usage appends, admin reads.
package ledger

import (
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	prefix     = "{aisix:usage}:"
	recordsKey = prefix + "records"
	// maxRecords is about how many records the stream keeps; totals stay.
	maxRecords = 1_000_000
	// markLife is how long a batch may be sent again without being counted twice.
	markLife = 24 * time.Hour
	// totalsLife is how long totals can be asked for, and what was set aside is kept.
	totalsLife = 400 * 24 * time.Hour
	day        = "2006-01-02"
)

func totalsKey(day string) string     { return prefix + "totals:" + day }
func batchKey(id string) string       { return prefix + "batch:" + id }
func asideKey(id, what string) string { return prefix + "aside:" + id + ":" + what }
func dayOf(t time.Time) string        { return t.UTC().Format(day) }

// Ledger appends and reads.
type Ledger struct {
	redis redis.UniversalClient
	log   *slog.Logger
}

// New uses client and does not close it.
func New(client redis.UniversalClient) *Ledger {
	return &Ledger{redis: client, log: slog.Default()}
}
