package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// reloads reports whether SIGHUP has the command of args read its settings again: it does for a
// server without a terminal. On a terminal, which is about to be closed, it ends the program, as it
// ends every other command.
func reloads(args []string) bool {
	if len(args) == 0 || args[0] != "serve" {
		return false
	}
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if term.IsTerminal(int(f.Fd())) {
			return false
		}
	}
	return true
}

// onHangup calls fn for each SIGHUP, one at a time, until the function that it returns is called,
// which waits for fn. nohup keeps the signal away.
func onHangup(fn func()) (stop func()) {
	if signal.Ignored(syscall.SIGHUP) || !reloads(os.Args[1:]) {
		return func() {}
	}
	hangups, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		defer close(done)
		for range hangups {
			fn()
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-done
	}
}
