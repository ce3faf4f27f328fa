// Package sockets reads and writes sockets without telling Go's scheduler of it.
//
// Around each system call Go marks its processor as free to be taken: a watcher thread
// looks every 20 µs, and hands the processor on where the call takes longer than that. A
// write to a socket does not block, but it wakes its reader, and on a machine with few cores
// that alone may take as long. With one processor, what follows costs more than the
// call: a thread is woken to find that there is nothing to do, and this one has to wait
// for the processor that it had. So on Linux these connections make the call without
// that; where it would block, they wait as ever. And a Unix socket waits for what it is
// asked for alone (unixConn). Elsewhere, and for connections that are no sockets, they are
// plain ones. Figures are in docs/performance.md.
//
// It knows nothing of who talks. rpc serves Envoy over it, and cmd/extproc reaches Redis
// by it.
package sockets
