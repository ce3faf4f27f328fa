package load

import (
	"math"
	"slices"
	"time"
)

// Times are durations, sorted once they are in a Result.
type Times []time.Duration

func (t Times) sort() { slices.Sort(t) }

// Quantile is the time that the share q of all does not exceed (nearest rank); 0 of
// none.
func (t Times) Quantile(q float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(t))))
	return t[min(max(rank, 1), len(t))-1]
}
