package stack

import "syscall"

// attributes gives a part a process group of its own, so that a Ctrl-C at the terminal reaches the
// one who stops the parts in order, and ends it when that one dies without notice.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
