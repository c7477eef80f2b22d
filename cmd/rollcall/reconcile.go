package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"rollcall/edge/webhook/reconcile"
	"rollcall/presence"
	"rollcall/server/config"
)

type reconcileCmd struct {
	Run    reconcileRunCmd    `cmd:"" help:"Ask the product of a source now, and correct what its events left wrong."`
	Status reconcileStatusCmd `cmd:"" help:"Show what the products were asked, and what was found."`
}

type reconcileRunCmd struct {
	operator
	App    string `placeholder:"ID" help:"App of the source; needed when the server has several."`
	Ids    string `placeholder:"FILE" help:"Ask about the peers in FILE, one a line; - is standard input. Default: all that the source has reported."`
	DryRun bool   `help:"Name the peers that would turn, and change nothing."`
	Force  bool   `help:"Apply the answers however many peers they turn: the brake is off."`
	Source string `arg:"" help:"The source: its id in the settings, such as tencent."`
}

// Help is the long help of the command.
func (reconcileRunCmd) Help() string {
	return "The source needs a reconcile section in the settings. A server does a round by itself every reconcile.every; this is one more, on the server that is asked. " +
		"Interrupting the command does not end what the server does." +
		"\n\n--ids asks also about peers that nothing was reported of, for the first day: with the ids of all people of an app, those who are online become so. " +
		"Any number may; those who are found offline are under the brake."
}

// Run begins runs, one for each part of the list, and waits until they have ended.
func (c *reconcileRunCmd) Run(e *env) error {
	base, err := c.base(e)
	if err != nil {
		return err
	}
	sum := &reconcile.Run{Dry: c.DryRun, Force: c.Force, Listed: c.Ids != ""}
	show := newProgress(e, "people asked about", 0)
	defer show.done()
	if c.Ids == "" {
		err = c.one(e, base, nil, sum, show)
	} else {
		err = c.parts(e, base, sum, show)
	}
	show.done()
	if sum.Began == 0 { // nothing was begun
		return err
	}
	return errors.Join(c.report(e, sum), err)
}

// parts begins a run for each part of the list.
func (c *reconcileRunCmd) parts(e *env, base string, sum *reconcile.Run, show *progress) error {
	from := os.Stdin
	if c.Ids != "-" {
		f, err := os.Open(c.Ids)
		if err != nil {
			return misused(e, err)
		}
		defer f.Close()
		from = f
	}
	lines := bufio.NewScanner(from)
	var part bytes.Buffer
	n, all := 0, 0
	for line, more := 1, true; more; line++ {
		more = lines.Scan()
		id := lines.Text()
		if line == 1 { // as some editors write it
			id = strings.TrimPrefix(id, "\ufeff")
		}
		if more && id != "" {
			if err := presence.CheckPeer(presence.PeerID(id)); err != nil {
				return misused(e, fmt.Errorf("%s: line %d: %w", c.Ids, line, err))
			}
			part.WriteString(id + "\n")
			n++
		}
		if n == 0 || more && n < reconcile.MostListed {
			continue
		}
		if err := c.one(e, base, part.Bytes(), sum, show); err != nil {
			return err
		}
		all += n
		n = 0
		part.Reset()
	}
	if err := lines.Err(); err != nil {
		return misused(e, fmt.Errorf("%s: %w", c.Ids, err))
	}
	if all == 0 {
		return misused(e, fmt.Errorf("%s holds no ids", c.Ids))
	}
	return nil
}

// one begins one run, waits for its end and adds it to sum.
func (c *reconcileRunCmd) one(e *env, base string, ids []byte, sum *reconcile.Run, show *progress) error {
	app := c.App
	if app == "" {
		app = "-"
	}
	q := url.Values{}
	if c.DryRun {
		q.Set("dry", "1")
	}
	if c.Force {
		q.Set("force", "1")
	}
	target := base + reconcile.Path + "/" + url.PathEscape(app) + "/" + url.PathEscape(c.Source) + "?" + q.Encode()
	b, status, err := post(e, target, http.Header{"Content-Type": {"text/plain"}}, ids)
	var run reconcile.Run
	switch {
	case err != nil:
		return unreached(base, err)
	case status != http.StatusAccepted:
		return refused(base, status, b)
	case json.Unmarshal(b, &run) != nil || run.ID == 0:
		return &config.Hinted{Err: fmt.Errorf("%s does not answer as a rollcall server does", base), Hint: "name the operator listener, not the one for apps"}
	}
	for run.Ended == 0 {
		if err := c.wait(e, &run); err != nil {
			return err
		}
		show.at(sum.Result.Asked + run.Result.Asked)
	}
	add(sum, &run)
	if run.Error != "" {
		return &config.Hinted{Err: fmt.Errorf("the run ended early: %s", run.Error), Hint: "docs/reconciliation.md has what stops a run; nothing is lost by running it again"}
	}
	return nil
}

// wait waits for a moment and reads how far run has come.
func (c *reconcileRunCmd) wait(e *env, run *reconcile.Run) error {
	select {
	case <-e.ctx.Done():
		return errors.New("interrupted; the server goes on")
	case <-time.After(200 * time.Millisecond):
	}
	var st reconcile.Status
	if _, _, err := c.get(e, reconcile.Path, nil, &st); err != nil {
		return err
	}
	for _, s := range st.Sources {
		if string(s.Source) == c.Source && (c.App == "" || string(s.App) == c.App) && s.Run != nil && s.Run.ID == run.ID && s.Run.Began == run.Began {
			*run = *s.Run
			return nil
		}
	}
	return &config.Hinted{Err: errors.New("the server has forgotten the run"), Hint: "it was restarted, or the settings of the source changed; run it again"}
}

// add adds run to sum.
func add(sum, run *reconcile.Run) {
	if sum.Began == 0 {
		sum.Began = run.Began
	}
	sum.Ended = run.Ended
	s, r := &sum.Result, &run.Result
	s.Asked += r.Asked
	s.Agree += r.Agree
	s.Ghost += r.Ghost
	s.Missed += r.Missed
	s.Unsure += r.Unsure
	s.Unanswered += r.Unanswered
	s.Applied += r.Applied
	sum.Turns = append(sum.Turns, run.Turns...)
}

func (c *reconcileRunCmd) report(e *env, run *reconcile.Run) error {
	if c.JSON {
		return printJSON(e.stdout, run)
	}
	var out strings.Builder
	r := &run.Result
	fmt.Fprintf(&out, "%d people asked about: %d are what they are shown as, %d were shown online and are gone, %d are online and were not shown so, %d unsure, %d without an answer\n",
		r.Asked, r.Agree, r.Ghost, r.Missed, r.Unsure, r.Unanswered)
	for _, t := range run.Turns {
		what := "gone"
		if t.Online {
			what = "online"
		}
		fmt.Fprintf(&out, "%s  %s\n", visible(string(t.Peer)), what)
	}
	if n := r.Ghost + r.Missed - int64(len(run.Turns)); n > 0 {
		fmt.Fprintf(&out, "and %d more\n", n)
	}
	if run.Dry {
		fmt.Fprintf(&out, "nothing was changed\n")
	} else {
		fmt.Fprintf(&out, "%d people were changed\n", r.Applied)
	}
	_, err := io.WriteString(e.stdout, out.String())
	return err
}

type reconcileStatusCmd struct{ operator }

// Run shows what the products were asked.
func (c *reconcileStatusCmd) Run(e *env) error {
	var st reconcile.Status
	b, _, err := c.get(e, reconcile.Path, nil, &st)
	if err != nil {
		return err
	}
	if c.JSON {
		_, err = e.stdout.Write(b)
		return err
	}
	if len(st.Sources) == 0 {
		_, err = fmt.Fprintln(e.stdout, "no source has a reconcile section")
		return err
	}
	t := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "app\tsource\tstate\tlast full round\tquiet\tasked\tagree\tghosts\tmissed\tunsure\tunanswered\tcalls failed\tbraked")
	for _, s := range st.Sources {
		state := "another node asks"
		switch {
		case s.Paused:
			state = "paused"
		case s.Stopped != "":
			state = s.Stopped
		case s.Asks:
			state = "asks"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%gs\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", s.App, visible(string(s.Source)), state, dash(stamp(s.Full)), s.Quiet,
			s.Asked, s.Agree, s.Ghost, s.Missed, s.Unsure, s.Unanswered, s.Failed, s.Braked)
	}
	return t.Flush()
}
