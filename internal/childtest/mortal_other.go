//go:build !linux

package childtest

import "os/exec"

// mortal does nothing: this system does not tell children of their parent's death.
func mortal(*exec.Cmd) {}
