// Package proc reads from Linux's /proc what processes have cost: CPU time to the
// nanosecond, context switches and memory. It knows nothing of what they are.
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Usage is what a process has used since its start. A thread that ended takes its
// part along; those of Envoy, Valkey and Go's runtime stay.
type Usage struct {
	CPU      time.Duration
	Switches int64 // of all threads, voluntary or not
}

// Minus is what was used since o.
func (u Usage) Minus(o Usage) Usage { return Usage{u.CPU - o.CPU, u.Switches - o.Switches} }

// Plus is the sum.
func (u Usage) Plus(o Usage) Usage { return Usage{u.CPU + o.CPU, u.Switches + o.Switches} }

// Of reads what a process has used.
func Of(pid int) (sum Usage, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(threads) == 0 {
		return Usage{}, fmt.Errorf("process %d is gone", pid)
	}
	for _, thread := range threads {
		schedstat, err := os.ReadFile(thread + "/schedstat")
		if err != nil {
			continue // it ended since
		}
		status, err := os.ReadFile(thread + "/status")
		if err != nil {
			continue
		}
		u, err := parseThread(schedstat, status)
		if err != nil {
			return Usage{}, fmt.Errorf("%s: %w", thread, err)
		}
		sum = sum.Plus(u)
	}
	return sum, nil
}

// parseThread reads the two files of one thread. The first number of schedstat is
// the time on a CPU; stat has it only in hundredths of a second.
func parseThread(schedstat, status []byte) (Usage, error) {
	first, _, _ := bytes.Cut(schedstat, []byte(" "))
	cpu, err := strconv.ParseInt(string(first), 10, 64)
	if err != nil {
		return Usage{}, err
	}
	voluntary, err := field(status, "voluntary_ctxt_switches")
	if err != nil {
		return Usage{}, err
	}
	forced, err := field(status, "nonvoluntary_ctxt_switches")
	if err != nil {
		return Usage{}, err
	}
	return Usage{time.Duration(cpu), voluntary + forced}, nil
}

// Resident is the memory of a process that is in RAM, in bytes.
func Resident(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	kB, err := field(status, "VmRSS")
	return kB << 10, err
}

// field is the number after "name:" of a status file.
func field(status []byte, name string) (int64, error) {
	for line := range bytes.Lines(status) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		if string(key) != name {
			continue
		}
		if words := bytes.Fields(value); len(words) > 0 {
			return strconv.ParseInt(string(words[0]), 10, 64)
		}
	}
	return 0, fmt.Errorf("no %s in the status", name)
}

// Machine is the time that all CPUs of the machine have been busy.
func Machine() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseMachine(stat)
}

// parseMachine adds up the first line of /proc/stat, in ticks of 1/100 s: user, nice,
// system, idle, iowait, irq, softirq, steal. What follows is part of user and nice.
func parseMachine(stat []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	words := bytes.Fields(line)
	if len(words) < 9 || string(words[0]) != "cpu" {
		return 0, errors.New("/proc/stat has no line of all CPUs")
	}
	var busy time.Duration
	for i, word := range words[1:9] {
		ticks, err := strconv.ParseInt(string(word), 10, 64)
		if err != nil {
			return 0, err
		}
		if idle := i == 3 || i == 4; !idle {
			busy += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return busy, nil
}
