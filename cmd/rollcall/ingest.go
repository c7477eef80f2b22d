package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/all"
	"rollcall/edge/webhook/trial"
	"rollcall/internal/configload"
	"rollcall/presence"
	"rollcall/server/config"
)

type ingestCmd struct {
	Check ingestCheckCmd `cmd:"" help:"Say what a server would make of one call of a product; ask none."`
	Send  ingestSendCmd  `cmd:"" help:"Sign a call as a product does, and send it to a server."`
}

// sourceFlags are settings of a source beside its kind, and what completes the call.
type sourceFlags struct {
	Secret     string   `placeholder:"SECRET" help:"Secret of the source, or - for the first line of standard input; default ROLLCALL_SOURCE_SECRET."`
	Appid      string   `name:"appid" placeholder:"ID" help:"Id of the app at the product, as in the settings of the source."`
	Map        string   `placeholder:"FILE" help:"Map of a source of kind jq, in a file."`
	SignHeader string   `placeholder:"NAME" help:"sign.header of such a source."`
	SignHash   string   `placeholder:"HASH" help:"sign.hash of such a source."`
	SignPrefix string   `placeholder:"TEXT" help:"sign.prefix of such a source."`
	Path       string   `placeholder:"PATH" help:"Path of the call, whole or behind the id of the source, when FILE is a body alone."`
	Query      string   `placeholder:"QUERY" help:"Query of the call, such as a=1&b=2, when FILE is a body alone."`
	Header     []string `sep:"none" placeholder:"LINE" help:"Header of the call, as \"Name: value\", when FILE is a body alone. May be given again."`
}

type ingestCheckCmd struct {
	sourceFlags
	User  string `placeholder:"FIELD" help:"Field of the peer, as in the settings of the source."`
	Lease string `placeholder:"DURATION" help:"Lease of the source; default that of the kind."`
	At    string `placeholder:"TIME" help:"When the call was received, such as 2026-12-01T08:00:00+08:00; default now."`
	Kind  string `arg:"" help:"Kind of the source, such as tencent."`
	File  string `arg:"" help:"The call: the head of an HTTP request, an empty line and its body, or the body alone; - is standard input."`
}

// Help is shown below the flags.
func (ingestCheckCmd) Help() string {
	return `Prints whether the proof of the call is right, if there is a secret to try it with, what it says, and what a peer is after it: one that was not known before, and one whose same session was reported online a minute earlier. Nothing is sent and nothing is kept; docs/sources.md has the kinds.` +
		"\n\nA proof that ages is held against --at: a call that was saved needs the time at which it came. A line feed at the end of FILE is not part of the body, unless Content-Length says so." +
		"\n\nOf a call that a server recorded (serve --record) the proof is struck out and not checked; the time of its receipt is in it." +
		"\n\nIt fails when the proof is wrong or the body is none of the product."
}

// Run tries the call.
func (c *ingestCheckCmd) Run(e *env) error {
	s, now, err := c.source(e)
	if err != nil {
		return misused(e, err)
	}
	r, err := c.call(e, c.File)
	if err != nil {
		return err
	}
	at, recorded := r.Recorded()
	if recorded && c.At == "" {
		now = at
	}
	res, err := trial.Try(e.ctx, s, r, now)
	if errors.Is(err, trial.ErrFile) {
		return misused(e, err)
	}
	if err != nil {
		return err
	}
	if err := printTrial(e.stdout, s, res, recorded); err != nil {
		return err
	}
	switch {
	case res.Proof != nil:
		return &config.Hinted{Err: fmt.Errorf("a server refuses this call: %w", res.Proof), Hint: proofHint(res.Proof)}
	case res.Shape != nil:
		return fmt.Errorf("a server refuses this call: %w", res.Shape)
	}
	return nil
}

// misused says what is wrong with the command line.
func misused(e *env, err error) error {
	fmt.Fprintf(e.stderr, "rollcall: %s\n", err)
	return errMisused
}

// source returns the source that the flags describe, and when the call was received.
func (c *ingestCheckCmd) source(e *env) (*webhook.Source, presence.Millis, error) {
	set := config.Source{ID: "source", Kind: c.Kind, AppID: c.Appid, User: c.User}
	if c.Lease != "" {
		lease, err := configload.ParseDuration(c.Lease)
		if err != nil || lease <= 0 || lease > presence.MaxLease {
			return nil, 0, fmt.Errorf("--lease: %.40q is no duration from 1ms to 30d, such as 20s or 7d", c.Lease)
		}
		set.Lease = lease
	}
	s, err := c.made(e, set, c.File)
	if err != nil {
		return nil, 0, err
	}
	at, err := timeOf(c.At)
	return s, at, err
}

// made returns the source that set and the flags describe.
func (f *sourceFlags) made(e *env, set config.Source, file string) (*webhook.Source, error) {
	secret, err := f.secret(e, file)
	if err != nil {
		return nil, err
	}
	if f.Map != "" {
		program, err := readMap(f.Map)
		if err != nil {
			return nil, fmt.Errorf("--map: %w", err)
		}
		set.Map = string(program)
	}
	set.Sign = config.Sign{Header: f.SignHeader, Hash: f.SignHash, Prefix: f.SignPrefix}
	if set.Secret = config.Secret(secret); secret == "" { // the proof is not looked at, or not made
		set.Allow = []netip.Prefix{netip.MustParsePrefix("::/0")}
	}
	if err := set.Validate(); err != nil {
		return nil, err
	}
	s := set.Webhook("app", webhook.Find(all.Kinds, set.Kind))
	return &s, nil
}

// secret returns the secret of the source; empty: there is none.
func (f *sourceFlags) secret(e *env, file string) (string, error) {
	switch {
	case f.Secret == "":
		return variable(e.environ, "ROLLCALL_SOURCE_SECRET"), nil
	case f.Secret != "-":
		return f.Secret, nil
	case file == "-":
		return "", errors.New("--secret and FILE are both -, and there is one standard input")
	}
	const longest = 4096
	line, err := bufio.NewReader(io.LimitReader(os.Stdin, longest)).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("--secret: standard input has no secret in its first line")
	}
	if errors.Is(err, io.EOF) && len(line) < longest {
		err = nil
	}
	return line, err
}

// call returns the call in file.
func (f *sourceFlags) call(e *env, file string) (*trial.Request, error) {
	b, err := readCall(file)
	if err != nil {
		return nil, err
	}
	r, err := trial.Parse(b)
	if err == nil {
		err = r.Add(f.Path, f.Query, f.Header)
	}
	if err != nil {
		return nil, misused(e, err)
	}
	return r, nil
}

// timeOf returns the time that --at names; now when it is empty.
func timeOf(text string) (presence.Millis, error) {
	if text == "" {
		return presence.MillisOf(time.Now()), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.UnixMilli() <= 0 {
		return 0, fmt.Errorf("--at: %.80q is no time; it is written as 2026-12-01T08:00:00+08:00 or 2026-12-01T00:00:00Z", text)
	}
	return presence.MillisOf(at), nil
}

// readMap reads the program in the file name, which may be a pipe.
func readMap(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const longest = 1 << 20
	b, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err == nil && len(b) > longest {
		err = fmt.Errorf("%s has more than %d bytes", name, longest)
	}
	return b, err
}

// maxCall is more than the largest call that a server takes.
const maxCall = 2 << 20

func readCall(name string) ([]byte, error) {
	from := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	b, err := io.ReadAll(io.LimitReader(from, maxCall+1))
	if err == nil && len(b) > maxCall {
		err = fmt.Errorf("%s has more than %d bytes, which no server takes", name, maxCall)
	}
	return b, err
}

// proofOf says what the proof of a call is worth.
func proofOf(s *webhook.Source, res *trial.Result, recorded bool) string {
	switch {
	case recorded:
		return "not checked: recorded"
	case s.Secret == "":
		return "not looked at, since there is no --secret"
	case errors.Is(res.Proof, webhook.ErrExpired):
		return "right, and its time is too far from that of the receipt"
	case res.Proof != nil:
		return "wrong or missing"
	case s.Kind.Defaults().Open:
		return "right; it does not cover the body, so the call must come over https or from an allowed network"
	}
	return "right, and covers the body"
}

func proofHint(err error) string {
	if errors.Is(err, webhook.ErrExpired) {
		return "of a call that was saved, --at says when it came"
	}
	return "compare --secret, and --appid, with the console of the product; a path, query or header that the proof is in belongs to the call"
}

// printTrial prints what there is to know of a call. Nothing of it is a secret.
func printTrial(w io.Writer, s *webhook.Source, res *trial.Result, recorded bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "proof\t%s\n", proofOf(s, res, recorded))
	switch {
	case errors.Is(res.Shape, webhook.ErrBusy):
		fmt.Fprint(t, "body\tnot read in time\n")
	case res.Shape != nil:
		fmt.Fprintf(t, "body\tnone of %s\n", s.Kind.Name())
	}
	for i := range res.Events {
		e := &res.Events[i]
		fmt.Fprintf(t, "event %d\t%s\n", i+1, said(e))
		fmt.Fprintf(t, "\tafter it, a peer that was unknown is %s (%v)\n", e.Unknown, e.Verdict)
		fmt.Fprintf(t, "\tafter it, a peer whose session was online is %s\n", e.Online)
	}
	for _, p := range res.Problems {
		fmt.Fprintf(t, "unusable\t%s\n", visible(p))
	}
	fmt.Fprintf(t, "ignored\t%d\n", res.Ignored)
	if len(res.Reply.Body) > 0 {
		fmt.Fprintf(t, "answer\t%d %s\n", res.Reply.Status, visible(strings.TrimSpace(string(res.Reply.Body))))
	}
	return t.Flush()
}

// said returns what an event says: peer, state, session, time and cause.
func said(e *trial.Event) string {
	text := fmt.Sprintf("peer %s: %s", visible(string(e.Peer)), e.Kind)
	switch {
	case e.Kind == presence.KindEndAll && e.Session != "":
		text += ", sessions " + visible(string(e.Session)) + "…"
	case e.Kind == presence.KindEndAll:
		text += ", all sessions"
	case e.Session != "":
		text += ", session " + visible(string(e.Session))
	default:
		text += ", device " + visible(e.Tag)
	}
	if e.Received {
		text += ", at its receipt"
	} else {
		text += ", at " + e.At.Time().UTC().Format("2006-01-02T15:04:05.000Z")
	}
	if e.Cause != presence.CauseUnknown {
		text += ", cause " + e.Cause.String()
	}
	return text
}
