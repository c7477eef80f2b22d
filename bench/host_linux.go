package main

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// checkHost says whether the benchmark can run here.
func checkHost() error { return nil }

// childAttributes puts a child in a group of its own and has the kernel kill it if the driver dies
// without a word.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func signalGroup(pid int, s syscall.Signal) error { return syscall.Kill(-pid, s) }

// ownCPU is the CPU time of the driver itself.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sharpenSleep asks the kernel to wake this thread when it said, not up to 50 µs later.
func sharpenSleep() {
	const prSetTimerslack = 29
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerslack, 1, 0)
}

// sleepUntil sleeps in the kernel. time.Sleep would do, but an idle Go program rounds its sleeps up
// to the millisecond, which is more than the latencies to be measured.
func sleepUntil(t time.Time) {
	for {
		left := time.Until(t)
		if left <= 0 {
			return
		}
		ts := syscall.NsecToTimespec(int64(left))
		if err := syscall.Nanosleep(&ts, nil); err != nil && !errors.Is(err, syscall.EINTR) {
			time.Sleep(left)
		}
	}
}

// fileSystem names what lies under dir, because a synced write costs nothing on some.
func fileSystem(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return "unknown"
	}
	switch uint32(s.Type) {
	case 0xEF53:
		return "ext4"
	case 0x01021994:
		return "tmpfs (in memory: a synced write costs nothing here)"
	case 0x58465342:
		return "xfs"
	case 0x9123683E:
		return "btrfs"
	case 0x794C7630:
		return "overlayfs"
	case 0x2FC12FC1:
		return "zfs"
	}
	return fmt.Sprintf("type %#x", uint32(s.Type))
}
