package nonblock

import "golang.org/x/sys/unix"

// Queued returns how many bytes the other side of the socket fd has not acknowledged; 0 when the
// kernel does not say. The caller sees to it that fd stays open meanwhile.
func Queued(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}
