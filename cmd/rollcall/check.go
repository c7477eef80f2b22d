package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"rollcall/check"
)

type checkCmd struct {
	URL  string        `arg:"" placeholder:"URL" help:"Where apps reach the server, such as https://im.example.com."`
	Only []string      `placeholder:"NAME,..." help:"Make these checks only; see below for their names."`
	Hold time.Duration `default:"20s" help:"How long a socket and a stream must stay open in silence; at most 10m."`
	JSON bool          `help:"Print JSON."`
}

// Help is the long help of the command.
func (checkCmd) Help() string {
	return "Looks at a server from outside, as apps and IM servers reach it. The checks are " + strings.Join(check.Names(), ", ") + "; docs/check.md has what each does, and the cure of each failure. " +
		"Run it on a machine outside of the server's network. Only a peer called rollcall-check-… is reported, and erased at the end." +
		"\n\nThe keys are read from the environment: ROLLCALL_APP_ID, ROLLCALL_APP_KEY, ROLLCALL_MASTER_KEY, ROLLCALL_HOOK_KEY and, for servers with gate.ask: token, ROLLCALL_TOKEN_SECRET, or LEANCLOUD_APP_ID and so on. What needs a key that is not set is skipped." +
		"\n\nExit codes: 0 nothing failed; 1 something did; 2 the command line is wrong."
}

// maxHold bounds how long a check takes.
const maxHold = 10 * time.Minute

// errChecked: a check failed; it has been said.
var errChecked = errors.New("a check failed")

// Run makes the checks and prints each as it ends.
func (c *checkCmd) Run(e *env) error {
	key := func(own, engine string) string {
		if v := variable(e.environ, own); v != "" {
			return v
		}
		return variable(e.environ, engine)
	}
	cfg := check.Config{
		URL: c.URL, App: key("ROLLCALL_APP_ID", "LEANCLOUD_APP_ID"), AppKey: key("ROLLCALL_APP_KEY", "LEANCLOUD_APP_KEY"),
		MasterKey: key("ROLLCALL_MASTER_KEY", "LEANCLOUD_APP_MASTER_KEY"), HookKey: key("ROLLCALL_HOOK_KEY", "LEANCLOUD_APP_HOOK_KEY"),
		TokenSecret: key("ROLLCALL_TOKEN_SECRET", "LEANCLOUD_APP_TOKEN_SECRET"), Hold: c.Hold, Only: c.Only,
	}
	switch {
	case cfg.App == "":
		fmt.Fprintln(e.stderr, "rollcall: no app is named\nrollcall: hint: set ROLLCALL_APP_ID and its keys in the environment; a data directory has them in keys.env")
		return errMisused
	case c.Hold > maxHold:
		fmt.Fprintf(e.stderr, "rollcall: --hold is at most %v\n", maxHold)
		return errMisused
	}
	report, err := check.Run(e.ctx, cfg, func(r check.Result) {
		if !c.JSON {
			printCheck(e, &r)
		}
	})
	switch {
	case errors.Is(err, check.ErrConfig):
		fmt.Fprintf(e.stderr, "rollcall: %v\n", strings.TrimPrefix(err.Error(), check.ErrConfig.Error()+": "))
		return errMisused
	case err != nil:
		return err
	case c.JSON:
		err = printJSON(e.stdout, report)
	default:
		err = c.sum(e, &report)
	}
	if err == nil && !report.OK {
		err = errChecked
	}
	return err
}

func printCheck(e *env, r *check.Result) {
	fmt.Fprintf(e.stdout, "%-8s %-9s %s\n", r.Result, r.Name, r.Text)
	if r.Cure != "" {
		fmt.Fprintf(e.stdout, "%18s cure: %s\n", "", r.Cure)
	}
}

func (c *checkCmd) sum(e *env, report *check.Report) error {
	n := map[string]int{}
	for _, r := range report.Checks {
		n[r.Result]++
	}
	_, err := fmt.Fprintf(e.stdout, "%d ok, %d failed, %d skipped\n", n[check.OK], n[check.Failed], n[check.Skipped])
	return err
}
