package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	operatordoor "rollcall/edge/operator"
)

type statusCmd struct {
	operator
	remote

	Check bool `help:"Only say whether the server is ready: ends with 0 when it is, with 1 when it is not."`
}

// Run asks a running server what it is doing and prints it.
func (c *statusCmd) Run(e *env) error {
	if c.Host != nil {
		return c.forward(e)
	}
	if c.Check {
		return c.check(e)
	}
	var s operatordoor.Status
	b, _, err := c.get(e, "/status", nil, &s)
	if err != nil {
		return err
	}
	if c.JSON {
		_, err = e.stdout.Write(b)
		return err
	}
	return printStatus(e.stdout, &s)
}

func printStatus(w io.Writer, s *operatordoor.Status) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s, %s for %s, process %d\n", s.Version, s.Phase, time.Duration(s.Uptime*float64(time.Second)).Round(time.Second), s.PID)
	if s.Trouble != "" {
		fmt.Fprintf(&out, "trouble: %s\n", s.Trouble)
	}
	if len(s.UnnamedProxies) > 0 {
		fmt.Fprintf(&out, "proxies: %s sends X-Forwarded-For and is not named in proxies: all callers behind it share the limits of one address\n",
			strings.Join(s.UnnamedProxies, ", "))
	}
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\napps at\t%s\noperators at\t%s\nstate\t%s\n", s.Listen, s.Admin, s.Store.Name)
	fmt.Fprintf(t, "\napp\tonline\tknown\ttoday\n")
	for _, a := range s.Apps {
		if a.Unanswered {
			fmt.Fprintf(t, "%s\t?\t?\t?\n", a.ID)
			continue
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\n", a.ID, a.Online, a.Known, a.Today)
	}
	fmt.Fprintf(t, "\n\ttotal\tper second\n")
	var reports int64
	for _, o := range s.Sources {
		reports += o.Reports
	}
	fmt.Fprintf(t, "reports\t%d\t%.1f\nchanges\t%d\t%.1f\nqueries\t%d\t%.1f\nids asked\t%d\t%.1f\n",
		reports, s.Rates.Reports, s.Changes, s.Rates.Changes, s.Queries, s.Rates.Queries, s.IDs, s.Rates.IDs)
	for _, cause := range slices.Sorted(maps.Keys(s.Expired)) {
		fmt.Fprintf(t, "offline, %s\t%d\t\n", strings.ReplaceAll(cause, "_", " "), s.Expired[cause])
	}
	if len(s.Sources) > 0 {
		fmt.Fprintf(t, "\nsource\treports\tlast heard\tleases run out\twhat became of them\n")
		for _, o := range s.Sources {
			fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%s\n", visible(string(o.Source)), o.Reports, o.Last, o.Missing, counts(o.Verdicts))
		}
	}
	if len(s.Clocks) > 0 {
		fmt.Fprintf(t, "\nsender whose clock is off\tnode\tby\treports\tlast\n")
		for _, c := range s.Clocks {
			fmt.Fprintf(t, "%s of %s\t%s\t%s\t%d\t%s\n", visible(string(c.Source)), visible(string(c.App)), dash(visible(string(c.Node))), offBy(c.OffMS), c.Reports, c.Last)
		}
	}
	if len(s.Store.Counts) > 0 {
		fmt.Fprintf(t, "\nstore\t\n")
		for _, name := range slices.Sorted(maps.Keys(s.Store.Counts)) {
			fmt.Fprintf(t, "%s\t%d\n", strings.ReplaceAll(name, "_", " "), s.Store.Counts[name])
		}
	}
	printRooms(t, s.Rooms)
	fmt.Fprintf(t, "\nheap\t%d MiB\ngoroutines\t%d\nlog lines dropped\t%d\n", s.HeapBytes>>20, s.Goroutines, s.LogDropped)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, trimmed(out.String()))
	return err
}

// offBy writes how far a clock is off.
func offBy(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if d < 0 {
		return (-d).String() + " behind, or late"
	}
	return d.String() + " ahead"
}

// trimmed drops the blanks that columns leave at the ends of lines.
func trimmed(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return out.String()
}

// counts writes m as "taken 3, double 1".
func counts(m map[string]int64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, m[name]))
	}
	return strings.Join(parts, ", ")
}

// printRooms writes what the rooms have counted and leaves out what never happened.
func printRooms(w io.Writer, rooms map[string]map[string]int64) {
	for _, room := range slices.Sorted(maps.Keys(rooms)) {
		fmt.Fprintf(w, "\n%s\t\n", room)
		none := true
		for _, name := range slices.Sorted(maps.Keys(rooms[room])) {
			if n := rooms[room][name]; n != 0 {
				fmt.Fprintf(w, "%s\t%d\n", strings.ReplaceAll(name, "_", " "), n)
				none = false
			}
		}
		if none {
			fmt.Fprintf(w, "nothing yet\t\n")
		}
	}
}
