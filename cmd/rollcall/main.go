// Command rollcall is a presence server for instant messaging, and what asks one: see rollcall
// --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// A pipe without a reader ends the program quietly, as it does for other tools.
	signal.Ignore(syscall.SIGPIPE)
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) && !reloads(os.Args[1:]) { // nohup ignores it
		ends = append(ends, syscall.SIGHUP) // the terminal was closed
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	// The first signal asks; after it, a second one ends the program at once.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
