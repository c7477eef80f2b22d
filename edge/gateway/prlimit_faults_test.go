//go:build faults

package gateway_test

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// prlimit sets how many descriptors another process may have.
func prlimit(pid int, l *syscall.Rlimit) error {
	return unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: l.Cur, Max: l.Max}, nil)
}
