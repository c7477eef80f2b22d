package childtest

import (
	"os/exec"
	"syscall"
)

// mortal has cmd killed with its parent. A group of its own keeps a Ctrl-C at the terminal for the
// parent.
func mortal(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
