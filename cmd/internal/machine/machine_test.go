package machine

import (
	"log/slog"
	"math"
	"runtime"
	"runtime/debug"
	"testing"
)

// What the environment says wins over what the machine and its cgroup have.
func TestFit(t *testing.T) {
	limit, percent, processors := debug.SetMemoryLimit(-1), debug.SetGCPercent(100), runtime.GOMAXPROCS(0)
	defer func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
		runtime.GOMAXPROCS(processors)
	}()
	silent := slog.New(slog.DiscardHandler)

	// The runtime reads these at the start: the calls stand in for that.
	t.Setenv("GOMEMLIMIT", "1GiB")
	debug.SetMemoryLimit(1 << 30)
	t.Setenv("GOGC", "150")
	debug.SetGCPercent(150)
	t.Setenv("GOMAXPROCS", "7")
	runtime.GOMAXPROCS(7)
	memory := Fit(silent)
	if memory != 1<<30 || debug.SetMemoryLimit(-1) != 1<<30 || debug.SetGCPercent(150) != 150 || runtime.GOMAXPROCS(0) != 7 {
		t.Errorf("memory %d, limit %d, %d threads", memory, debug.SetMemoryLimit(-1), runtime.GOMAXPROCS(0))
	}

	for _, name := range []string{"GOMEMLIMIT", "GOGC", "GOMAXPROCS"} {
		t.Setenv(name, "")
	}
	debug.SetMemoryLimit(math.MaxInt64)
	runtime.GOMAXPROCS(runtime.NumCPU())
	if memory = Fit(silent); memory < 64<<20 || memory == math.MaxInt64 {
		t.Errorf("this machine has %d bytes", memory)
	}
	limited := debug.SetMemoryLimit(-1)
	if got := debug.SetGCPercent(100); got != 400 || limited > memory || runtime.GOMAXPROCS(0) != share(runtime.NumCPU()) {
		t.Errorf("GOGC %d; limit %d of %d bytes; %d threads of %d CPUs", got, limited, memory, runtime.GOMAXPROCS(0), runtime.NumCPU())
	}

	t.Setenv("GOMEMLIMIT", "off")
	debug.SetMemoryLimit(math.MaxInt64)
	if Fit(silent); debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Errorf("off became %d", debug.SetMemoryLimit(-1))
	}
}

func TestWorkers(t *testing.T) {
	for cpus, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 8: 5, 64: 40} {
		if got := workers(cpus); got != want {
			t.Errorf("%d threads of Envoy's on %d CPUs, want %d", got, cpus, want)
		}
	}
	defer func(n int) { processors = n }(processors)
	processors = 1
	t.Setenv("GOMAXPROCS", "") // of this process, and no limit
	if got := Workers(); got != 1 {
		t.Errorf("%d threads where the cgroup allows 1 CPU", got)
	}
	processors = 1 << 10
	if got := Workers(); got != workers(runtime.NumCPU()) {
		t.Errorf("%d threads on %d CPUs", got, runtime.NumCPU())
	}
}

func TestShare(t *testing.T) {
	for cpus, want := range map[int]int{1: 1, 2: 1, 3: 2, 4: 2, 8: 4} {
		if got := share(cpus); got != want {
			t.Errorf("%d of %d CPUs, want %d", got, cpus, want)
		}
	}
}
