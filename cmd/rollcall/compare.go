package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"rollcall/presence"
)

type compareCmd struct {
	operator
	App     string `placeholder:"ID" help:"App of the peers; needed when the server has several."`
	Against string `required:"" placeholder:"URL" help:"The other side: https://… is asked for getOnOffStatus with LEANCLOUD_APP_ID and LEANCLOUD_APP_KEY; redis://… or rediss://… is read for the recipe's keys."`
	IDs     string `name:"ids" placeholder:"FILE" help:"Compare the ids of this file, one on a line."`
	Sample  int    `default:"1000" help:"Without --ids: how many to take at random of those who are online at the server."`
	Prefix  string `default:"onOffStatus:" help:"What the recipe's keys in Redis begin with."`
	Allow   int    `default:"0" help:"How many may differ."`

	leftOut []string // ids that queries by id do not take
}

// Help is the long help of the command.
func (compareCmd) Help() string {
	return "Nothing is written on either side. Those that differ are asked once more a second later, so a change under way is no difference. " +
		"A sample has only people whom the server shows online; --ids compares the others too." +
		"\n\nExit codes: 0 no more differ than --allow; 1 more differ; 2 a side could not be asked."
}

var (
	// errDiffers: more differ than are allowed; it has been said.
	errDiffers = errors.New("the two sides differ")
	// errUnasked: no comparison was made.
	errUnasked = errors.New("nothing was compared")
)

// unasked is why no comparison was made.
type unasked struct{ error }

func (unasked) Is(target error) bool { return target == errUnasked }

func (u unasked) Unwrap() error { return u.error }

// batch is how many peers are asked at once.
const batch = 100

// settles is how long a change may take to reach both sides.
const settles = time.Second

// A difference is a peer that the two sides show otherwise.
type difference struct {
	Peer  string `json:"peer"`
	Here  string `json:"rollcall"`
	There string `json:"against"`
	Why   string `json:"why"`
}

// Run compares what a running server and the other side answer.
func (c *compareCmd) Run(e *env) error {
	if c.Sample < 1 || c.Allow < 0 {
		fmt.Fprintln(e.stderr, "rollcall: --sample is at least 1, --allow at least 0")
		return errMisused
	}
	differ, asked, err := c.compare(e)
	if err != nil {
		if errors.Is(err, errMisused) {
			return err
		}
		return unasked{err}
	}
	if err := c.report(e, differ, asked); err != nil {
		return err
	}
	if len(differ) > c.Allow {
		return errDiffers
	}
	return nil
}

func (c *compareCmd) compare(e *env) ([]difference, int, error) {
	other, err := newOtherSide(e, c.Against, c.Prefix)
	if err != nil {
		return nil, 0, err
	}
	defer other.close()
	ids, err := c.ids(e)
	if err != nil {
		return nil, 0, err
	}
	ids = c.leaveOut(ids)
	if len(ids) == 0 {
		return nil, 0, errors.New("there is no id to compare")
	}
	differ, err := c.ask(e, other, ids)
	if err == nil && len(differ) > 0 {
		again := make([]string, len(differ))
		for i, d := range differ {
			again[i] = d.Peer
		}
		select {
		case <-e.ctx.Done():
			return nil, 0, e.ctx.Err()
		case <-time.After(settles):
		}
		differ, err = c.ask(e, other, again)
	}
	if err != nil {
		return nil, 0, err
	}
	for i := range differ {
		var answer struct{ Why string }
		q := c.query()
		q.Set("id", differ[i].Peer)
		if _, _, err := c.get(e, "/v1/peer/why", q, &answer); err != nil {
			return nil, 0, err
		}
		differ[i].Why = answer.Why
	}
	return differ, len(ids), nil
}

// leaveOut returns the ids that a query takes. Hooks may bring longer ones, and others.
func (c *compareCmd) leaveOut(ids []string) []string {
	return slices.DeleteFunc(ids, func(id string) bool {
		odd := presence.CheckPeer(presence.PeerID(id)) != nil
		if odd {
			c.leftOut = append(c.leftOut, id)
		}
		return odd
	})
}

func (c *compareCmd) query() url.Values {
	q := url.Values{}
	if c.App != "" {
		q.Set("app", c.App)
	}
	return q
}

// ids returns the peers to compare, each once.
func (c *compareCmd) ids(e *env) ([]string, error) {
	if c.IDs == "" {
		return c.online(e)
	}
	f, err := openInput(e, c.IDs)
	if err != nil {
		return nil, fmt.Errorf("read the ids: %w", err)
	}
	defer f.Close()
	var ids []string
	seen := map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		id := strings.TrimSuffix(lines.Text(), "\r")
		if id != "" && !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("read the ids: %s has a line that is longer than any id", c.IDs)
	} else if err != nil {
		return nil, fmt.Errorf("read the ids: %w", err)
	}
	return ids, nil
}

// online returns a sample of those who are online, each with the same chance.
func (c *compareCmd) online(e *env) ([]string, error) {
	var ids []string
	q := c.query()
	q.Set("online", "1")
	for seen := 0; ; {
		var page struct {
			Peers  []string
			Cursor string
		}
		if _, _, err := c.get(e, "/v1/peers", q, &page); err != nil {
			return nil, err
		}
		for _, id := range page.Peers {
			seen++
			if len(ids) < c.Sample {
				ids = append(ids, id)
			} else if i := rand.IntN(seen); i < c.Sample {
				ids[i] = id
			}
		}
		if page.Cursor == "" {
			return ids, nil
		}
		q.Set("cursor", page.Cursor)
	}
}

// ask asks both sides for ids and returns those that differ.
func (c *compareCmd) ask(e *env, other otherSide, ids []string) ([]difference, error) {
	var differ []difference
	for len(ids) > 0 {
		part := ids[:min(batch, len(ids))]
		ids = ids[len(part):]
		here, err := c.statuses(e, part)
		if err != nil {
			return nil, err
		}
		there, err := other.statuses(e, part)
		if err != nil {
			return nil, err
		}
		for i, id := range part {
			if here[i] != there[i] {
				differ = append(differ, difference{Peer: id, Here: here[i], There: there[i]})
			}
		}
	}
	return differ, nil
}

// statuses asks the running server.
func (c *compareCmd) statuses(e *env, ids []string) ([]string, error) {
	base, err := c.base(e)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string]any{"peers": ids})
	if err != nil {
		return nil, err
	}
	b, status, err := post(e, base+"/v1/peers/query?"+c.query().Encode(), nil, body)
	if err != nil {
		return nil, unreached(base, err)
	}
	if status != http.StatusOK {
		return nil, refused(base, status, b)
	}
	var answer struct {
		Peers []struct{ Peer, Status string }
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return nil, fmt.Errorf("%s does not answer as a rollcall server does", base)
	}
	known := map[string]string{}
	for _, p := range answer.Peers {
		known[p.Peer] = p.Status
	}
	out := make([]string, len(ids))
	for i, id := range ids {
		if out[i] = known[id]; out[i] == "" {
			return nil, fmt.Errorf("%s has not answered for %q", base, id)
		}
	}
	return out, nil
}

func (c *compareCmd) report(e *env, differ []difference, asked int) error {
	if c.JSON {
		if differ == nil {
			differ = []difference{}
		}
		b, err := json.Marshal(map[string]any{"asked": asked, "alike": asked - len(differ), "differ": differ, "left_out": len(c.leftOut)})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "%s\n", b)
		return err
	}
	var out strings.Builder
	for _, d := range differ {
		fmt.Fprintf(&out, "%s  here %s, there %s: here it is %s\n", visible(d.Peer), d.Here, d.There, visible(d.Why))
	}
	if len(c.leftOut) > 0 {
		fmt.Fprintf(&out, "%d left out: a query takes no such id as %.64q\n", len(c.leftOut), c.leftOut[0])
	}
	fmt.Fprintf(&out, "%d of %d people are shown alike; %d differ", asked-len(differ), asked, len(differ))
	if len(differ) > 0 {
		fmt.Fprintf(&out, ", %d may", c.Allow)
	}
	_, err := fmt.Fprintln(e.stdout, out.String())
	return err
}
