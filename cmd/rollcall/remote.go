package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"rollcall/server/config"
)

// remote has a command run on a server, by the program that is installed there.
type remote struct {
	Host *string `placeholder:"[USER@]HOST" help:"Run the command on that server, by ssh, with the rollcall installed there."`
}

// forward runs the command line of e on the server, without --host.
func (r *remote) forward(e *env) error {
	return r.run(e, append([]string{"rollcall"}, withoutHost(e.args)...))
}

// withoutHost returns args without the flag --host.
func withoutHost(args []string) []string {
	var rest []string
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--":
			return append(rest, args[i:]...)
		case args[i] == "--host":
			i++
		case !strings.HasPrefix(args[i], "--host="):
			rest = append(rest, args[i])
		}
	}
	return rest
}

// run runs a command on the server.
func (r *remote) run(e *env, command []string) error {
	host := *r.Host
	if strings.HasPrefix(host, "-") || strings.TrimSpace(host) == "" {
		fmt.Fprintf(e.stderr, "rollcall: --host: %q is no server\n", host)
		return errMisused
	}
	line := "PATH=/usr/local/bin:$PATH:/usr/bin; exec"
	for _, word := range command {
		line += " " + shellWord(word)
	}
	tty := "-T"
	if terminal(e.stdout) && terminal(os.Stdin) {
		tty = "-t" // an interrupt reaches the command on the server
	}
	s := exec.CommandContext(e.ctx, "ssh", tty, "-o", "LogLevel=ERROR", "--", host, line)
	s.Stdout, s.Stderr = e.stdout, e.stderr
	if tty == "-t" {
		s.Stdin = os.Stdin
	}
	return ended(e, s.Run(), host)
}

// shellWord is quote for a word that may be empty.
func shellWord(s string) string {
	if s == "" {
		return "''"
	}
	return quote(s)
}

// ended says how a command ended whose errors have been printed.
func ended(e *env, err error, host string) error {
	var code *exec.ExitError
	switch {
	case err == nil || e.ctx.Err() != nil:
		return nil
	case !errors.As(err, &code):
		return err
	case code.ExitCode() == exitMisused:
		return errMisused
	case code.ExitCode() == 255:
		return &config.Hinted{Err: fmt.Errorf("ssh to %s failed", host), Hint: "\"ssh " + host + "\" must work by itself"}
	case code.ExitCode() == 127:
		return fmt.Errorf("the command was not found on %s", host)
	}
	return fmt.Errorf("the command on %s ended with %d", host, code.ExitCode())
}

type logsCmd struct {
	remote
	Follow bool   `short:"f" help:"Go on with new lines until it is interrupted."`
	Since  string `placeholder:"TIME" help:"From that time on, as journalctl takes it: \"1 hour ago\", 2027-01-12; default today."`
}

// Run prints the log of the service.
func (c *logsCmd) Run(e *env) error {
	since := c.Since
	if since == "" {
		since = "today"
	}
	command := []string{"journalctl", "-u", "rollcall", "--no-pager", "-o", "cat", "--since=" + since}
	if c.Follow {
		command = append(command, "-f")
	}
	if c.Host != nil {
		return c.run(e, command)
	}
	j := exec.CommandContext(e.ctx, command[0], command[1:]...)
	j.Stdout, j.Stderr = e.stdout, e.stderr
	return ended(e, j.Run(), "this machine")
}
