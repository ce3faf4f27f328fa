// Package machine fits a process to the machine, or to the container, that it runs
// in: how many threads run Go code, how much memory there is, and how often the
// collector runs. GOMAXPROCS, GOMEMLIMIT and GOGC in the environment win. An Envoy that
// runs beside it is told how many threads it should have.
//
// It knows Go's runtime and cgroups, and nothing of what the process does.
package machine

import (
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Fit sets what the environment leaves open, tells it in one log line, and gives the
// memory that the process has: GOMEMLIMIT, or 90 % of its cgroup's limit, else all of
// the machine's.
func Fit(log *slog.Logger) (memory int64) {
	memory = fitMemory(log)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(roomy)
	}
	processors := fitProcessors()
	log.Info("fitted to the machine", "gomaxprocs", processors, "cpus", runtime.NumCPU(), "gogc", percent(), "gomemlimit", debug.SetMemoryLimit(-1), "memory", memory)
	return memory
}

// percent is GOGC; -1 is off.
func percent() int {
	p := debug.SetGCPercent(-1)
	debug.SetGCPercent(p)
	return p
}

// fitProcessors leaves half of the machine to Envoy, which runs beside extproc and
// does as much for each request: more threads than that wake each other in vain.
// Where a cgroup's CPU limit has made the share smaller, that is this process's own.
func fitProcessors() int {
	if all := runtime.NumCPU(); os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) == all {
		runtime.GOMAXPROCS(share(all))
	}
	return runtime.GOMAXPROCS(0)
}

func share(cpus int) int { return (cpus + 1) / 2 }

// processors is how many of them the process may keep busy: all that it may run on, or fewer by its
// cgroup's CPU limit, as Go's runtime finds it at the start.
var processors = runtime.GOMAXPROCS(0)

// Workers is how many threads Envoy should have that carry calls: it needs five eighths of what it
// and extproc need together, and more threads than processors for them wake each other in vain, write to
// extproc one by one what one of them would have written at once, and find less of what they need in
// the processor's caches. Where a cgroup's CPU limit makes less of the machine, that is Envoy's own: all of it.
func Workers() int {
	if all := runtime.NumCPU(); processors >= all || os.Getenv("GOMAXPROCS") != "" { // which is not for Envoy
		return workers(all)
	}
	return processors
}

func workers(cpus int) int { return max(1, cpus*5/8) }

const (
	// roomy is GOGC: the heap may grow to five times what is in use before it is
	// collected, which a process that uses little can do without harm. Close to Go's
	// memory limit it is collected sooner: so there always is one.
	roomy = 400
	// unknown is the memory of a machine that does not say.
	unknown = 1 << 30
)

// fitMemory sets Go's memory limit, where GOMEMLIMIT does not: to 90 % of the
// cgroup's, else to half of the machine's memory, which Envoy and Redis need too.
func fitMemory(log *slog.Logger) int64 {
	limit, err := memlimit.Set()
	if err != nil {
		log.Warn("the cgroup's memory limit cannot be read: set GOMEMLIMIT", "error", err)
		limit = debug.SetMemoryLimit(-1)
	}
	if limit < math.MaxInt64 {
		return limit
	}
	memory := int64(unknown)
	if physical, err := memlimit.FromSystem(); err == nil && physical < math.MaxInt64 {
		memory = int64(physical)
	}
	if os.Getenv("GOMEMLIMIT") == "" { // "off" is a choice
		debug.SetMemoryLimit(memory / 2)
	}
	return memory
}
