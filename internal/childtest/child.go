// Package childtest starts processes that do not outlive the test process, however that ends: where
// the kernel supports it (Linux), they are killed with it. A test that is killed at its time limit
// then leaves no server behind that holds ports, files and CPU.
package childtest

import (
	"os/exec"
	"runtime"
)

// Start starts cmd. Call wait, once, to wait for its end; until then the process holds a thread.
//
// The kernel sends its word of a parent's death when the thread ends that forked, and threads of
// the Go runtime come and go: that thread is kept for as long as the child lives.
func Start(cmd *exec.Cmd) (wait func() error, err error) {
	mortal(cmd)
	started, gone := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			<-gone
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return func() error {
		defer close(gone)
		return cmd.Wait()
	}, nil
}
