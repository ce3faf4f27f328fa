//go:build !linux

package envoyrun

import "syscall"

// apart gives Envoy a process group of its own, so that a signal of the terminal's does not end it before
// it is drained.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
