package proc

import (
	"os"
	"testing"
	"time"
)

func TestAThread(t *testing.T) {
	const status = "Name:\tenvoy\nVmRSS:\t   69632 kB\nvoluntary_ctxt_switches:\t120\nnonvoluntary_ctxt_switches:\t3\n"
	got, err := parseThread([]byte("49004812 16165072 184\n"), []byte(status))
	if want := (Usage{49004812, 123}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if kB, err := field([]byte(status), "VmRSS"); err != nil || kB != 69632 {
		t.Error(kB, err)
	}
	for _, bad := range [][2]string{{"", status}, {"x 1 2", status}, {"1 2 3", "Name:\tenvoy\n"}, {"1 2 3", "voluntary_ctxt_switches:\n"}} {
		if got, err := parseThread([]byte(bad[0]), []byte(bad[1])); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestTheMachine(t *testing.T) {
	got, err := parseMachine([]byte("cpu  100 2 30 4000 50 6 7 8 9 10\ncpu0 1 1 1 1\n"))
	if err != nil || got != 1530*time.Millisecond {
		t.Error(got, err)
	}
	for _, bad := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 x 4 5 6 7 8"} {
		if got, err := parseMachine([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestThisProcess(t *testing.T) {
	before, err := Of(os.Getpid())
	if err != nil || before.CPU <= 0 {
		t.Fatalf("%+v, %v", before, err)
	}
	if bytes, err := Resident(os.Getpid()); err != nil || bytes < 1<<20 {
		t.Error(bytes, err)
	}
	if busy, err := Machine(); err != nil || busy <= 0 {
		t.Error(busy, err)
	}
	if u, err := Of(1 << 30); err == nil {
		t.Errorf("no process: %+v", u)
	}
}
