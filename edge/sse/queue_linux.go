package sse

import "golang.org/x/sys/unix"

const canAsk = true

// length returns how many bytes the reader's side has not acknowledged; 0 when nobody can tell.
func (q queue) length() int {
	if q.tcp == nil {
		return 0
	}
	raw, err := q.tcp.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	err = raw.Control(func(fd uintptr) {
		if v, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			n = v
		}
	})
	if err != nil {
		return 0
	}
	return n
}
