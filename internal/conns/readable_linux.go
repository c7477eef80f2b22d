package conns

import (
	"net"

	"golang.org/x/sys/unix"
)

// readable reports whether bytes of c have come that were not read. It is wrong at the end of a
// connection, when there are none.
func readable(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	err = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) })
	return err == nil && n > 0
}
