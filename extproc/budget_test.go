package extproc

import (
	"testing"
	"time"

	"aisix/admin/resource"
)

// A model's timeout of 0 is no timeout of 0: the config's stands, as where it says
// nothing.
func TestTimeoutOfZeroIsTheDefault(t *testing.T) {
	started := time.Now()
	s := New(Parts{Config: Config{Timeout: 30 * time.Minute, StreamTimeout: 10 * time.Minute}})
	for _, test := range []struct {
		timeout, gap int64
		want         budget
	}{
		{0, 0, budget{started.Add(30 * time.Minute), 10 * time.Minute, 0}},
		{5000, 0, budget{started.Add(5 * time.Second), 10 * time.Minute, 0}},
		{0, 5000, budget{started.Add(30 * time.Minute), 5 * time.Second, 0}},
	} {
		if got := s.newBudget(started, &resource.Model{Timeout: test.timeout, StreamTimeout: test.gap}); got != test.want {
			t.Errorf("%d and %d: %v, want %v", test.timeout, test.gap, got, test.want)
		}
	}
}
