//go:build unix

package embedded_test

import "syscall"

func mkfifo(name string) { syscall.Mkfifo(name, 0o600) }
