package nonblock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Able says that this system can.
const Able = true

// Write has the socket fd take what it has room for of b, and returns how much that was; having no
// room is no error. The caller sees to it that fd stays open meanwhile.
func Write(fd uintptr, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		// A raw system call: the usual one notifies the scheduler, which may then hand the
		// processor to another thread; among a thousand writes of some microseconds that happens
		// often, and costs more than it gains.
		n, _, err := unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch err {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, err
		}
	}
}
