//go:build unix

package server

import "syscall"

// maxConnections leaves a tenth of the descriptors to operators, the disk and the store.
func maxConnections() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur < 128 {
		return 100
	}
	return int(min(l.Cur-l.Cur/10, 1<<24))
}
