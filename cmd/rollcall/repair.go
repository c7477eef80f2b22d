package main

import (
	"fmt"
	"io"
	"strings"

	"rollcall/server"
)

type repairCmd struct {
	Data *string `placeholder:"DIR" help:"Data directory; default ./rollcall-data (ROLLCALL_DATA)."`
	Yes  bool    `help:"Repair. Without it the command prints what it found and changes nothing."`
	JSON bool    `help:"Print JSON."`
}

// Help is shown below the flags.
func (repairCmd) Help() string {
	return `The server must be stopped. Old files are moved aside, not deleted; readable records are written to new files. Peers whose last
reports were in the damaged part may have an older state than they should: their ids are printed, where they can be read.`
}

// Run looks for damage and, with --yes, repairs it. Damage that was only found is exit code 1.
func (c *repairCmd) Run(e *env) error {
	s := settings{Data: c.Data}
	cfg, _, err := server.Load(e.ctx, s.sources(e.environ))
	if err != nil {
		return err
	}
	r, err := server.RepairData(cfg, c.Yes)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(e.stdout, r)
	} else {
		err = printRepair(e.stdout, &r)
	}
	if err == nil && len(r.Damage) > 0 && !c.Yes {
		return &server.Hinted{Err: fmt.Errorf("%s is damaged in %d places", r.Data, len(r.Damage)), Hint: "run it again with --yes to repair it"}
	}
	return err
}

// mostNamed is how many affected peers are named to people; --json names all.
const mostNamed = 20

func printRepair(w io.Writer, r *server.Repair) error {
	var out strings.Builder
	for _, d := range r.Damage {
		fmt.Fprintf(&out, "%s is damaged at offset %d: %s\n", d.File, d.Offset, d.What)
	}
	if r.Torn > 0 {
		fmt.Fprintf(&out, "the last %d bytes of the log were being written when the process ended; the next start cuts them\n", r.Torn)
	}
	if n := len(r.Affected); n > 0 {
		fmt.Fprintf(&out, "%d peers whose last reports stood there may be shown as they were before:\n", n)
		for _, p := range r.Affected[:min(n, mostNamed)] {
			fmt.Fprintf(&out, "  %s\n", visible(p))
		}
		if n > mostNamed {
			fmt.Fprintf(&out, "  and %d more; --json names all\n", n-mostNamed)
		}
	}
	fmt.Fprintf(&out, "%d peers can be read\n", r.Kept)
	switch {
	case r.Aside != "":
		fmt.Fprintf(&out, "repaired; the old files are in %s\n", r.Aside)
	case len(r.Damage) == 0:
		fmt.Fprintln(&out, "nothing is damaged; nothing was changed")
	}
	_, err := io.WriteString(w, out.String())
	return err
}
