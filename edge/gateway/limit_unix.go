//go:build unix

package gateway

import "syscall"

// maxSockets leaves a tenth of the descriptors to everything else, so that a flood of sockets meets
// our answer and not a failing accept.
func maxSockets() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur < 128 {
		return 100
	}
	return int(min(l.Cur-l.Cur/10, 1<<24))
}
