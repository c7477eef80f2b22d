//go:build !linux

package main

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// checkHost says whether the benchmark can run here. The CPU time of processes is read from /proc.
func checkHost() error { return errors.New("the benchmark runs on Linux only") }

func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func signalGroup(pid int, s syscall.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Signal(s)
}

func ownCPU() time.Duration { return 0 }

func sharpenSleep() {}

func sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }

func fileSystem(string) string { return "unknown" }
