//go:build !linux

package stack

import "syscall"

// attributes gives a part a process group of its own, so that a Ctrl-C at the terminal reaches the
// one who stops the parts in order.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
