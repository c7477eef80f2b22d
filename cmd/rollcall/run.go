package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"rollcall/internal/configload"
	"rollcall/server/config"
)

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitMisused = 2
)

// commands is the whole command line.
type commands struct {
	Serve     serveCmd     `cmd:"" help:"Run a server in the foreground."`
	Demo      demoCmd      `cmd:"" help:"Show presence at work: a server in memory, fifty people, one page."`
	Peer      peerCmd      `cmd:"" help:"Show all that a running server knows of a peer, and why it is shown as it is."`
	Watch     watchCmd     `cmd:"" help:"Follow peers live: what they are, then every change."`
	Check     checkCmd     `cmd:"" help:"Look at a server from outside, as apps reach it: functions, hooks, sockets, TLS, proxies."`
	Compare   compareCmd   `cmd:"" help:"Compare what a running server and LeanCloud, or the recipe's Redis, say of people."`
	Status    statusCmd    `cmd:"" help:"Show what a running server is doing: peers, rates, store."`
	Source    sourceCmd    `cmd:"" help:"End what a source that has died said."`
	Reconcile reconcileCmd `cmd:"" help:"Ask the products of sources who is online, and show what that found."`
	Ingest    ingestCmd    `cmd:"" help:"Look at the webhooks of other IM products."`
	Token     tokenCmd     `cmd:"" help:"Make a user token, for trying."`
	Config    configCmd    `cmd:"" help:"Check a configuration, or show it."`
	Reload    reloadCmd    `cmd:"" help:"Have a running server read its settings again: apps, keys, rates."`
	Backup    backupCmd    `cmd:"" help:"Write the state of a running server to a file."`
	Restore   restoreCmd   `cmd:"" help:"Make a data directory of a backup."`
	Export    exportCmd    `cmd:"" help:"Write the peers of a running server as lines of JSON."`
	Import    importCmd    `cmd:"" help:"Merge an export, or the keys of LeanCloud's recipe, into a running server."`
	Repair    repairCmd    `cmd:"" help:"Look for damaged state, say what is lost, and move it aside so that a server starts again."`
	Deploy    deployCmd    `cmd:"" help:"Install this program on a server by ssh, or upgrade the one there."`
	Logs      logsCmd      `cmd:"" help:"Show the log of the installed service, here or on a server."`
	Install   installCmd   `cmd:"" help:"Install this program as a service of systemd, or upgrade to it."`
	Uninstall uninstallCmd `cmd:"" help:"Stop the service and remove it."`
	Version   versionCmd   `cmd:"" help:"Print the version."`

	Completion completionCmd `cmd:"" help:"Print what has a shell complete commands and flags."`

	DemoHold demoHoldCmd `cmd:"" hidden:""`
}

const description = "rollcall answers who is online. Others report connections to it (LeanCloud's hooks, webhooks, a JSON API, sockets); " +
	"apps ask, in batches.\n\nTo try it: rollcall serve. It needs no configuration, and prints two curl lines that work." +
	"\n\nExit codes: 0 it is done; 1 it failed, such as when no server answers; 2 the command line or the configuration is wrong."

// An env is what a command sees of the world.
type env struct {
	ctx            context.Context
	args, environ  []string
	stdout, stderr io.Writer
}

// exit carries an exit code out of kong, which wants to end the process itself.
type exit int

// errMisused: the command line or the configuration is wrong; what is wrong has been said.
var errMisused = errors.New("misused")

// run does what args say and returns the exit code.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	k, code := parse(args, stdout, stderr)
	if k == nil {
		return code
	}
	return codeOf(stderr, k.Run(&env{ctx, args, environ, stdout, stderr}))
}

// parse returns the command that args name. Where there is none to run, because help was asked for
// or args are wrong, it has written that, and returns nil and the exit code.
func parse(args []string, stdout, stderr io.Writer) (k *kong.Context, code int) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exit:
			k, code = nil, int(r)
			if len(args) == 0 {
				code = exitMisused // help was not asked for
			}
		default:
			panic(r)
		}
	}()
	var c commands
	p, err := kong.New(
		&c, kong.Name("rollcall"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.Exit(func(n int) { panic(exit(n)) }), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
	)
	if err != nil { // only a programmer can cause it
		panic(err)
	}
	k, err = p.Parse(plainly(args))
	switch {
	case errors.Is(err, syscall.EPIPE): // while help was written
		return nil, exitFailed
	case err != nil:
		return nil, misuse(stderr, err)
	}
	return k, exitDone
}

// plainly returns args as this program's own words: "help serve" and "--version" are what other
// programs call them.
func plainly(args []string) []string {
	switch {
	case len(args) == 0:
		return []string{"--help"}
	case args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case args[0] == "--version":
		return append([]string{"version"}, args[1:]...)
	}
	return args
}

// misuse says what is wrong with the command line, and where help is.
func misuse(stderr io.Writer, err error) int {
	command := "rollcall"
	var pe *kong.ParseError
	if errors.As(err, &pe) && pe.Context != nil {
		if c := pe.Context.Command(); c != "" {
			command += " " + strings.TrimSpace(strings.SplitN(c, "<", 2)[0])
		}
	}
	text := err.Error()
	if flag, _, missing := strings.Cut(text, ": expected "); missing && strings.HasSuffix(text, `"EOL" (<EOL>)`) {
		text = flag + ": a value is missing"
	}
	fmt.Fprintf(stderr, "rollcall: %s\nrollcall: hint: run %q to see how it is used\n", text, command+" --help")
	return exitMisused
}

// codeOf says what went wrong, with a hint where there is one, and returns the exit code.
func codeOf(stderr io.Writer, err error) int {
	var problems configload.Problems
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, syscall.EPIPE):
		return exitFailed // the reader of the output has closed the pipe
	case errors.Is(err, errMisused):
		return exitMisused
	case errors.Is(err, errDiffers), errors.Is(err, errChecked):
		return exitFailed
	case errors.As(err, &problems):
		for _, p := range problems {
			fmt.Fprintf(stderr, "rollcall: %s\n", p)
		}
		return exitMisused
	}
	fmt.Fprintf(stderr, "rollcall: %s\n", err)
	if h := config.HintOf(err); h != "" {
		fmt.Fprintf(stderr, "rollcall: hint: %s\n", h)
	}
	if config.IsSettings(err) || errors.Is(err, errUnasked) {
		return exitMisused
	}
	return exitFailed
}
