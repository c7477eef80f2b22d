package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	operatordoor "rollcall/edge/operator"
	"rollcall/presence"
	"rollcall/server/config"
	"rollcall/transfer"
)

type importCmd struct {
	listening
	App       string `placeholder:"ID" help:"Only the peers of that app; with --redis and --leancache the app that they belong to."`
	Redis     string `placeholder:"URL" help:"Take over what the recipe's functions keep in a Redis or LeanCache: redis://:PASSWORD@HOST:PORT/DB."`
	LeanCache bool   `name:"leancache" help:"FILE has a key of the recipe on each line, its value, and its TTL if there is one."`
	Prefix    string `placeholder:"TEXT" default:"onOffStatus:" help:"What the recipe's keys begin with; --prefix= for keys that are bare ids."`
	File      string `arg:"" optional:"" help:"What rollcall export, or a backup, wrote; - for standard input."`
}

// Help is shown below the flags.
func (importCmd) Help() string {
	return `Merges peers into a running server, which goes on meanwhile. What is known of a peer on both sides is joined, so an import may be interrupted, and repeated. A line that is wrong ends it, with its number; those before it are merged. What the recipe's keys say gives way to all that is reported to the server.`
}

// Run imports.
func (c *importCmd) Run(e *env) error {
	if (c.File == "") == (c.Redis == "") || c.LeanCache && c.Redis != "" {
		fmt.Fprintln(e.stderr, "rollcall: name one file, - for standard input, or a Redis with --redis")
		return errMisused
	}
	if c.Prefix != defaultPrefix && c.Redis == "" && !c.LeanCache {
		fmt.Fprintln(e.stderr, "rollcall: --prefix is of the recipe's keys: it goes with --redis or --leancache")
		return errMisused
	}
	base, err := c.base(e)
	if err != nil {
		return err
	}
	im := &importer{e: e, base: base, app: presence.AppID(c.App)}
	switch {
	case c.Redis != "":
		err = c.fromRedis(im)
	default:
		var in io.ReadCloser
		if in, err = openInput(e, c.File); err != nil {
			return err
		}
		defer in.Close()
		if c.LeanCache {
			err = c.fromText(im, in)
		} else {
			err = im.file(in)
		}
		if file := (*transfer.FileError)(nil); errors.As(err, &file) {
			err = fmt.Errorf("%s: %w", c.File, err)
		}
	}
	return im.end(err)
}

const (
	partPeers = 2000    // in one request of an import
	partBytes = 4 << 20 // about
	// importWithin is how long the server may take for one of them.
	importWithin = time.Minute
)

// An importer sends peers to a server in parts, each of which is a file of its own.
type importer struct {
	e    *env
	base string
	app  presence.AppID // empty: every app
	head transfer.Header

	body  bytes.Buffer
	w     *transfer.Writer
	lines []int // of the file, of the peers in body
	done  transfer.Result
	p     *progress
}

// begin says what the peers that follow are from.
func (im *importer) begin(h transfer.Header) {
	im.head, im.p = h, newProgress(im.e, "import", h.Known())
}

// add sends a peer, which stands on a line of the file.
func (im *importer) add(line int, put func(w *transfer.Writer) error) error {
	if im.w == nil {
		im.body.Reset()
		im.lines = im.lines[:0]
		im.w = transfer.NewWriter(&im.body, im.head)
	}
	if err := put(im.w); err != nil {
		return err
	}
	if im.lines = append(im.lines, line); len(im.lines) < partPeers && im.body.Len() < partBytes {
		return nil
	}
	return im.flush()
}

// flush sends what was added.
func (im *importer) flush() error {
	if im.w == nil {
		return nil
	}
	if _, err := im.w.Close(); err != nil {
		return err
	}
	im.w = nil
	a, status, err := im.post()
	if err != nil {
		return err
	}
	im.done.Peers, im.done.Changed, im.done.Ended = im.done.Peers+a.Peers, im.done.Changed+a.Changed, im.done.Ended+a.Ended
	im.p.at(im.done.Peers)
	switch n := a.Line - 2; { // after the header
	case status == http.StatusOK:
		return nil
	case n >= 0 && n < len(im.lines) && im.lines[n] > 0:
		return &transfer.FileError{Line: im.lines[n], Code: a.Code, Text: a.Err}
	}
	return fmt.Errorf("%w", &refusal{im.base, a.Code, a.Err})
}

// flushThen sends what was added before err; what is wrong with that comes first.
func (im *importer) flushThen(err error) error {
	if first := im.flush(); first != nil {
		return first
	}
	return err
}

// post sends one part.
func (im *importer) post() (a operatordoor.ImportAnswer, status int, err error) {
	client := &http.Client{Timeout: importWithin}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(im.e.ctx, http.MethodPost, im.base+"/import", bytes.NewReader(im.body.Bytes()))
	if err != nil {
		return a, 0, fmt.Errorf("ask %s: %w", im.base, err)
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := client.Do(r)
	if err != nil {
		return a, 0, unreached(im.base, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return a, 0, fmt.Errorf("read the answer of %s: %w", im.base, err)
	}
	if json.Unmarshal(b, &a) != nil || resp.StatusCode != http.StatusOK && a.Code == "" {
		return a, 0, refused(im.base, resp.StatusCode, b)
	}
	return a, resp.StatusCode, nil
}

// file sends what an export or a backup has.
func (im *importer) file(in io.Reader) error {
	r, err := transfer.NewReader(in)
	if err != nil {
		return err
	}
	im.begin(r.Header)
	for {
		l, raw, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return im.flush()
		case err != nil: // what came before it counts
			return im.flushThen(err)
		case l.Peer == "" || im.app != "" && l.App != im.app:
			continue
		}
		if err := im.add(r.N(), func(w *transfer.Writer) error { return w.Copy(l, raw) }); err != nil {
			return err
		}
	}
}

// end says what was done, and what ended it.
func (im *importer) end(err error) error {
	if im.e.ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if im.p == nil {
		return err
	}
	took := im.p.done()
	if err != nil && im.done.Peers == 0 {
		return err
	}
	text := fmt.Sprintf("%s, %d of them changed, %s", many(im.done.Peers, "peer"), im.done.Changed, took)
	if err != nil {
		return &config.Hinted{Err: err, Hint: "before that: " + text + "; the import may be repeated"}
	}
	fmt.Fprintf(im.e.stderr, "import of %s\n", text)
	if im.done.Ended > 0 {
		fmt.Fprintf(im.e.stderr, "%s had open sessions that were left out: the export is more than a day old, and they may have ended since\n", many(im.done.Ended, "peer"))
	}
	return nil
}
