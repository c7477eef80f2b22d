//go:build !linux

package childtest

import "os/exec"

// mortal does nothing: this system does not signal children when their parent dies.
func mortal(*exec.Cmd) {}
