package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	operatordoor "rollcall/edge/operator"
	"rollcall/presence"
	"rollcall/server/config"
)

type sourceCmd struct {
	End sourceEndCmd `cmd:"" help:"End what a source that has died said: its sessions that are live."`
}

type sourceEndCmd struct {
	operator
	App    string `placeholder:"ID" help:"App of the sessions; needed when the server has several."`
	Before string `placeholder:"TIME" help:"End what was last reported before TIME, such as 2027-01-12T00:00:00+08:00; default now."`
	DryRun bool   `help:"Count what would end, and end nothing."`
	Yes    bool   `help:"Do not ask."`
	Source string `arg:"" help:"The source, such as leancloud."`
}

// Help is the long help of the command.
func (sourceEndCmd) Help() string {
	return "Each live session of the source ends as if the source had reported it. What the source reports at that time or later stays, also while the command runs. " +
		"A person with a session of another source stays online. It may be interrupted and run again: what has ended is passed over." +
		"\n\nThe sources are leancloud (hooks) and api (POST /v1/events); \"rollcall status\" shows those that have reported. Sessions of sockets end by themselves."
}

// Run ends what a source said, after asking.
func (c *sourceEndCmd) Run(e *env) error {
	before, err := c.before(e)
	if err != nil {
		return err
	}
	asks := terminal(e.stdout) && terminal(os.Stdin)
	if !c.DryRun && !c.Yes && !asks {
		fmt.Fprintln(e.stderr, "rollcall: there is no terminal to ask on\nrollcall: hint: --dry-run counts what would end, --yes ends it")
		return errMisused
	}
	if c.DryRun || !c.Yes {
		count, err := c.pages(e, before, true)
		if err != nil || c.DryRun || count.Sessions == 0 {
			return errors.Join(c.report(e, count, true), err)
		}
		before = count.Before
		question := fmt.Sprintf("End %d sessions of %s, of %d people of app %s? [y/N] ", count.Sessions, visible(c.Source), count.People, count.App)
		if !confirmed(e.stdout, os.Stdin, question) {
			_, err := fmt.Fprintln(e.stdout, "nothing was ended")
			return err
		}
	}
	done, err := c.pages(e, before, false)
	return errors.Join(c.report(e, done, false), err)
}

// before returns the moment, 0 for that at which the server begins.
func (c *sourceEndCmd) before(e *env) (presence.Millis, error) {
	if c.Before == "" {
		return 0, nil
	}
	at, err := time.Parse(time.RFC3339, c.Before)
	if err != nil {
		fmt.Fprintf(e.stderr, "rollcall: --before: %q is no time\nrollcall: hint: it is written as 2027-01-12T00:00:00+08:00 or 2027-01-11T16:00:00Z\n", c.Before)
		return 0, errMisused
	}
	return presence.MillisOf(at), nil
}

// confirmed asks a person.
func confirmed(w io.Writer, r io.Reader, question string) bool {
	fmt.Fprint(w, question)
	answer, _ := bufio.NewReader(r).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}

// pages goes through all online peers and returns what was done, also up to an error.
func (c *sourceEndCmd) pages(e *env, before presence.Millis, dry bool) (*operatordoor.SourcePage, error) {
	sum := &operatordoor.SourcePage{}
	sum.Others = map[presence.Source]int{}
	q := url.Values{"source": {c.Source}}
	if c.App != "" {
		q.Set("app", c.App)
	}
	if dry {
		q.Set("dry", "1")
	}
	show := newProgress(e, "people looked at", 0)
	defer show.done()
	for {
		if before != 0 {
			q.Set("before", strconv.FormatInt(int64(before), 10))
		}
		var page operatordoor.SourcePage
		if err := c.page(e, q, &page); err != nil {
			if e.ctx.Err() != nil {
				err = errors.New("interrupted")
			}
			return sum, &config.Hinted{Err: fmt.Errorf("not all people were looked at: %w", err), Hint: "run it again: what has ended is passed over"}
		}
		before = page.Before
		sum.App, sum.Before = page.App, page.Before
		sum.Looked += page.Looked
		sum.People += page.People
		sum.Sessions += page.Sessions
		sum.Kept += page.Kept
		sum.Unread += page.Unread
		for source, n := range page.Others {
			sum.Others[source] += n
		}
		if page.Cursor == "" {
			return sum, unread(sum.Unread)
		}
		show.at(int64(sum.Looked))
		q.Set("cursor", page.Cursor)
	}
}

func unread(n int) error {
	if n == 0 {
		return nil
	}
	return &config.Hinted{Err: fmt.Errorf("%d people could not be read", n), Hint: "\"rollcall status\" shows what the store lacks; then run it again"}
}

// page asks for one page. The server goes on with it when the command is interrupted, so a page is
// small.
func (c *sourceEndCmd) page(e *env, q url.Values, page *operatordoor.SourcePage) error {
	base, err := c.base(e)
	if err != nil {
		return err
	}
	b, status, err := post(e, base+"/source/end?"+q.Encode(), nil, nil)
	switch {
	case err != nil:
		return unreached(base, err)
	case status != http.StatusOK:
		return refused(base, status, b)
	case json.Unmarshal(b, page) != nil || page.App == "":
		return &config.Hinted{Err: fmt.Errorf("%s does not answer as a rollcall server does", base), Hint: "name the operator listener, not the one for apps"}
	}
	return nil
}

func (c *sourceEndCmd) report(e *env, done *operatordoor.SourcePage, dry bool) error {
	if done.App == "" { // there was no answer
		return nil
	}
	if c.JSON {
		return printJSON(e.stdout, map[string]any{
			"app": done.App, "source": c.Source, "before": done.Before, "dry_run": dry, "looked": done.Looked,
			"people": done.People, "sessions": done.Sessions, "kept": done.Kept, "unread": done.Unread, "others": done.Others,
		})
	}
	var out strings.Builder
	ended := "ended"
	if dry {
		ended = "would end"
	}
	fmt.Fprintf(&out, "%d sessions of %s %s, of %d people; %d people of app %s were online\n", done.Sessions, visible(c.Source), ended, done.People, done.Looked, done.App)
	if done.Kept > 0 {
		fmt.Fprintf(&out, "%d sessions of it stay: reported since %s, or held by a node that sends heartbeats\n", done.Kept, stamp(done.Before))
	}
	for _, source := range slices.Sorted(maps.Keys(done.Others)) {
		fmt.Fprintf(&out, "%d live sessions are of %s\n", done.Others[source], visible(string(source)))
	}
	_, err := io.WriteString(e.stdout, out.String())
	return err
}
