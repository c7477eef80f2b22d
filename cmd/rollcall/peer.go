package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"rollcall/internal/api"
	"rollcall/presence"
)

type peerCmd struct {
	operator
	remote
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
	if c.Host != nil {
		return c.forward(e)
	}
	if c.ID == "" {
		return noID(e)
	}
	q := url.Values{"id": {c.ID}}
	if c.App != "" {
		q.Set("app", c.App)
	}
	var p explained
	b, head, err := c.get(e, "/v1/peer/why", q, &p)
	if err != nil {
		return err
	}
	if c.JSON {
		var out bytes.Buffer
		if err := json.Indent(&out, b, "", "  "); err != nil {
			return err
		}
		_, err = e.stdout.Write(out.Bytes())
		return err
	}
	p.app = head.Get(api.AppHeader)
	if _, _, err := c.get(e, "/v1/peer/online-time", q, &p.online); err != nil && refusalCode(err) != "switched_off" && refusalCode(err) != "invalid" {
		return err
	}
	return printPeer(e.stdout, &p)
}

// explained is what is printed of the answers of /v1/peer/why and /v1/peer/online-time.
type explained struct {
	app    string
	online struct{ Days []onlineDay }

	Peer, Status, Why string
	Since             presence.Millis
	LastSeen          presence.Millis `json:"last_seen"`
	Sessions          []struct {
		Source, Session, Node, Device, Cause string
		Open                                 bool
		At, Ahead, Until                     presence.Millis
	}
	Slots []struct {
		Source, Tag string
		Open        int
		At, Until   presence.Millis
	}
	Reports []struct {
		Source, Kind, Session, Tag, Cause, Verdict string
		Count                                      *int
		Received                                   presence.Millis `json:"heard"`
		At                                         presence.Millis
		Turned                                     bool
	}
}

type onlineDay struct {
	Day      string
	OnlineMS int64 `json:"online_ms"`
}

// shownDays is how many days of online time are printed; --json has all.
const shownDays = 7

func printPeer(w io.Writer, p *explained) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s  %s", visible(p.Peer), p.Status)
	if p.Since != 0 {
		fmt.Fprintf(&out, " since %s", stamp(p.Since))
	}
	fmt.Fprintf(&out, "  (app %s)\n%s is %s\n", visible(p.app), visible(p.Peer), visible(p.Why))
	if p.LastSeen != 0 {
		fmt.Fprintf(&out, "last seen %s\n", stamp(p.LastSeen))
	}
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	if len(p.Slots) > 0 {
		fmt.Fprintf(t, "\nslot\ttag\topen\tlast hook\tlease ends\n")
		for _, s := range p.Slots {
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", visible(s.Source), dash(visible(s.Tag)), s.Open, stamp(s.At), dash(stamp(s.Until)))
		}
	}
	if len(p.Sessions) > 0 {
		fmt.Fprintf(t, "\nsession\tsource\tnode\tdevice\tstate\tlast report\tlease ends\n")
		for _, s := range p.Sessions {
			state := "open"
			if !s.Open {
				state = "ended, " + s.Cause
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", visible(s.Session), visible(s.Source), dash(visible(s.Node)), dash(visible(s.Device)), state, stamp(s.At.Add(-time.Duration(s.Ahead)*time.Millisecond)), dash(stamp(s.Until)))
		}
	}
	if days := p.online.Days; len(days) > 0 {
		fmt.Fprintf(t, "\nday\tonline\n")
		for _, d := range slices.Backward(days[max(len(days)-shownDays, 0):]) {
			fmt.Fprintf(t, "%s\t%s\n", d.Day, (time.Duration(d.OnlineMS) * time.Millisecond).Round(time.Second))
		}
	}
	if len(p.Reports) > 0 {
		fmt.Fprintf(t, "\nheard\tsource\treport\tsession\ttime of the report\tand so\n")
		for _, r := range p.Reports {
			what := r.Kind
			if r.Cause != "" {
				what += " (" + r.Cause + ")"
			}
			if r.Count != nil {
				what = countText(*r.Count)
			}
			made := r.Verdict
			if r.Turned {
				made += ", turned"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", stamp(r.Received), visible(r.Source), what, dash(visible(r.Session)), stamp(r.At), made)
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

// visible escapes text that a client chose, so that it cannot control a terminal.
func visible(s string) string {
	plain := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfffd }) < 0
	if plain {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// countText writes the answer of a product that was asked.
func countText(n int) string {
	switch {
	case n < 0:
		return "asked: online"
	case n == 0:
		return "asked: offline"
	}
	return fmt.Sprintf("asked: %d open", n)
}
