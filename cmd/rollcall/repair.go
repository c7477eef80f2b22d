package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"rollcall/server"
	"rollcall/server/config"
	"rollcall/store/embedded"
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

// A repair is what was found in the state of a data directory, and what was done about it.
type repair struct {
	Data   string        `json:"data"`
	Damage []damagePlace `json:"damage"`
	// Affected are the peers whose states stood in what is damaged: what is kept of them may be
	// older than it should be.
	Affected []string `json:"affected"`
	Kept     int64    `json:"kept"`
	Torn     int64    `json:"torn_bytes"`
	// Where the old files are now; empty when nothing was changed.
	Aside string `json:"aside,omitempty"`
}

// A damagePlace is one place that is not what was written.
type damagePlace struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	What   string `json:"what"`
}

// repairOf returns r, of the directory state of data, as it is printed.
func repairOf(data, state string, r *embedded.Report) repair {
	out := repair{Data: data, Kept: r.Kept, Torn: r.Torn, Aside: r.Aside, Damage: []damagePlace{}, Affected: []string{}}
	for _, d := range r.Damage {
		file := d.File
		if !filepath.IsAbs(file) && filepath.Dir(file) == "." {
			file = filepath.Join(state, file)
		}
		out.Damage = append(out.Damage, damagePlace{file, d.Offset, d.What})
	}
	for _, p := range r.Peers {
		out.Affected = append(out.Affected, string(p))
	}
	return out
}

// Run looks for damage and, with --yes, repairs it. Damage that was only found is exit code 1.
func (c *repairCmd) Run(e *env) error {
	s := settings{Data: c.Data}
	cfg, _, err := config.Load(e.ctx, s.sources(e.environ))
	if err != nil {
		return err
	}
	p := newProgress(e, "repair", 0)
	var state string
	var report *embedded.Report
	done := make(chan struct{})
	go func() {
		defer close(done)
		state, report, err = server.RepairData(cfg, c.Yes)
	}()
	select {
	case <-done:
	case <-e.ctx.Done():
		if !c.Yes {
			p.done()
			return errors.New("interrupted; nothing was changed")
		}
		// A repair that ends half-way has moved some files and not others.
		fmt.Fprintln(e.stderr, "rollcall: the repair is finished first")
		<-done
	}
	took := p.done()
	if err != nil {
		return err
	}
	r := repairOf(cfg.Data, state, report)
	if c.JSON {
		err = printJSON(e.stdout, r)
	} else {
		err = printRepair(e.stdout, &r)
		fmt.Fprintf(e.stderr, "repair took %s\n", took)
	}
	if err == nil && len(r.Damage) > 0 && !c.Yes {
		return &config.Hinted{Err: fmt.Errorf("%s is damaged in %d places", r.Data, len(r.Damage)), Hint: "run it again with --yes to repair it"}
	}
	return err
}

// mostNamed is how many affected peers are named to people; --json names all.
const mostNamed = 20

func printRepair(w io.Writer, r *repair) error {
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
