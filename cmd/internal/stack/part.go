package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	readyWithin  = 30 * time.Second
	pollInterval = 20 * time.Millisecond
	tailBytes    = 4 << 10
	maxLogBytes  = 32 << 20 // a log over this becomes .old at the part's next start
)

// A Part is one process: it can be started, stopped, killed and started again. Its methods may be
// called from any goroutine.
type Part struct {
	Name string

	path    string
	args    []string
	env     []string
	listens []listen                        // what must be free before it starts
	ready   func(ctx context.Context) error // nil once it serves
	logPath string                          // standard output and error, appended

	starting sync.Mutex // held over Start, so that two callers cannot start it twice
	mu       sync.Mutex
	cmd      *exec.Cmd
	exited   chan struct{} // closed when cmd has been waited for
	exitErr  error
}

// A listen is an address that a part will listen on, and what can be done where it is taken.
type listen struct {
	network, address string
	otherwise        string // "choose …"
}

// Start runs the process and returns once it is ready. When it ends before that, or is not ready
// in 30 seconds, the error holds the end of its log, and nothing is left running. Starting a part
// that runs does nothing.
func (p *Part) Start(ctx context.Context) error {
	p.starting.Lock()
	defer p.starting.Unlock()
	if p.Running() {
		return nil
	}
	for _, l := range p.listens {
		if err := l.free(p.Name); err != nil {
			return err
		}
	}
	exited, err := p.spawn()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := p.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("%s ended at its start: %w\n%s", p.Name, p.exit(), p.tail())
		case <-ctx.Done():
			p.Kill()
			return fmt.Errorf("%s is not ready: %w\n%s", p.Name, err, p.tail())
		case <-time.After(pollInterval):
		}
	}
}

func (p *Part) spawn() (<-chan struct{}, error) {
	if info, err := os.Stat(p.logPath); err == nil && info.Size() > maxLogBytes {
		if err := os.Rename(p.logPath, p.logPath+".old"); err != nil {
			return nil, err
		}
	}
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(p.path, p.args...)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = p.env, log, log, attributes()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	exited := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.exited, p.exitErr = cmd, exited, nil
	p.mu.Unlock()
	go func() {
		err := cmd.Wait()
		if err == nil {
			err = errors.New("exit status 0")
		}
		p.mu.Lock()
		p.exitErr = err
		p.mu.Unlock()
		close(exited)
	}()
	return exited, nil
}

// Stop asks the process to end (SIGTERM) and waits for it; when ctx ends first it is killed.
// Stopping a part that does not run does nothing.
func (p *Part) Stop(ctx context.Context) {
	if !p.Running() {
		return
	}
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.Exited():
	case <-ctx.Done():
		p.Kill()
	}
}

// Kill ends the process without notice (SIGKILL) and waits until it is gone.
func (p *Part) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.Exited()
}

// Signal sends one signal; none to a process that has ended.
func (p *Part) Signal(s os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		p.cmd.Process.Signal(s) //nolint:errcheck // the only error is that it has ended
	}
}

// Exited is closed once the process, as last started, has ended; at once when it never ran.
func (p *Part) Exited() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.exited == nil {
		never := make(chan struct{})
		close(never)
		return never
	}
	return p.exited
}

// Running reports whether the process has been started and has not ended.
func (p *Part) Running() bool {
	select {
	case <-p.Exited():
		return false
	default:
		return true
	}
}

// PID is the process id as last started, 0 when it never ran.
func (p *Part) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Log is what the process has written, over its starts in this folder, since it last grew too long.
func (p *Part) Log() []byte {
	log, _ := os.ReadFile(p.logPath)
	return log
}

func (p *Part) exit() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exitErr
}

// tail is the end of the log, whole lines.
func (p *Part) tail() []byte {
	log := p.Log()
	if len(log) > tailBytes {
		log = log[len(log)-tailBytes:]
		log = log[bytes.IndexByte(log, '\n')+1:]
	}
	return log
}
