package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"

	"rollcall/server"
)

type peerCmd struct {
	operator
	App string `placeholder:"ID" help:"App of the peer; needed when the server has several."`
	ID  string `arg:"" help:"The peer; after -- when it begins with a dash."`
}

// noID says that the id of a peer is empty: a script's variable was, most likely.
func noID(e *env) error {
	fmt.Fprintln(e.stderr, "rollcall: the id of a peer is empty")
	return errMisused
}

// Run asks a running server for the peer and prints what it knows.
func (c *peerCmd) Run(e *env) error {
	if c.ID == "" {
		return noID(e)
	}
	q := url.Values{"id": {c.ID}}
	if c.App != "" {
		q.Set("app", c.App)
	}
	var p server.Peer
	b, err := c.get(e, "/peer", q, &p)
	if err != nil {
		return err
	}
	if c.JSON {
		_, err = e.stdout.Write(b)
		return err
	}
	return printPeer(e.stdout, &p)
}

// shownDays is how many days of online time are printed; --json has all.
const shownDays = 7

func printPeer(w io.Writer, p *server.Peer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s  %s", visible(p.Peer), p.Status)
	if p.Since != "" {
		fmt.Fprintf(&out, " since %s", p.Since)
	}
	fmt.Fprintf(&out, "  (app %s)\n%s is %s\n", visible(p.App), visible(p.Peer), visible(p.Why))
	if p.LastSeen != "" {
		fmt.Fprintf(&out, "last seen %s\n", p.LastSeen)
	}
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	if len(p.Slots) > 0 {
		fmt.Fprintf(t, "\nslot\ttag\topen\tlast hook\tlease ends\n")
		for _, s := range p.Slots {
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", visible(s.Source), dash(visible(s.Tag)), s.Open, s.At, dash(s.Until))
		}
	}
	if len(p.Sessions) > 0 {
		fmt.Fprintf(t, "\nsession\tsource\tnode\tdevice\tstate\tlast report\tlease ends\n")
		for _, s := range p.Sessions {
			state := "open"
			if !s.Open {
				state = "ended, " + s.Cause
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", visible(s.ID), visible(s.Source), dash(visible(s.Node)), dash(visible(s.Device)), state, s.At, dash(s.Until))
		}
	}
	if len(p.Days) > 0 {
		fmt.Fprintf(t, "\nday\tonline\n")
		for _, d := range p.Days[:min(len(p.Days), shownDays)] {
			fmt.Fprintf(t, "%s\t%s\n", d.Day, d.Online)
		}
	}
	if len(p.Reports) > 0 {
		fmt.Fprintf(t, "\nheard\tsource\treport\tsession\ttime of the report\tand so\n")
		for _, r := range p.Reports {
			what := r.Kind
			if r.Cause != "" {
				what += " (" + r.Cause + ")"
			}
			made := r.Verdict
			if r.Turned {
				made += ", turned"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Heard, visible(r.Source), what, dash(visible(r.Session)), r.At, made)
		}
	} else {
		fmt.Fprintln(t, "\nno report of it has been heard since the server started")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// visible writes what a stranger chose so that it can do nothing to a terminal.
func visible(s string) string {
	plain := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfffd }) < 0
	if plain {
		return s
	}
	return fmt.Sprintf("%q", s)
}
