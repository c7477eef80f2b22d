package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"rollcall/server"
	"rollcall/server/config"
	"rollcall/transfer"
)

type exportCmd struct {
	listening
	remote
	App string `placeholder:"ID" help:"Only the peers of that app; default those of every app of the server."`
}

// Help is shown below the flags.
func (exportCmd) Help() string {
	return `Writes every peer, with all that is remembered of it, as a line of JSON; "rollcall import" merges the file into another server, or into this one. The server goes on meanwhile. docs/backup.md documents the lines.`
}

// Run writes what the server exports to standard output.
func (c *exportCmd) Run(e *env) error {
	if err := private(e, "export"); err != nil {
		return err
	}
	if c.Host != nil {
		return c.forward(e)
	}
	q := url.Values{}
	if c.App != "" {
		q.Set("app", c.App)
	}
	return c.save(e, "export", q, func(*transfer.Writer) error { return nil })
}

type backupCmd struct {
	listening
	remote
}

// Help is shown below the flags.
func (backupCmd) Help() string {
	return `Writes the state of a server that keeps it on disk, while it runs; "rollcall restore" makes a data directory of it. Every report acknowledged before the command began is in it. It also has the keys that the first start made and the counts of the last days, if this user may read them in the data directory, so keep it as you keep keys. A server on Redis refuses: there Redis is backed up.`
}

// Run writes a backup of the server to standard output.
func (c *backupCmd) Run(e *env) error {
	if err := private(e, "backup"); err != nil {
		return err
	}
	if c.Host != nil {
		return c.forward(e)
	}
	dir := c.dataDir(e.environ)
	var left []string
	err := c.save(e, "backup", nil, func(w *transfer.Writer) (err error) {
		left, err = addFiles(w, dir)
		return err
	})
	if err == nil && len(left) > 0 {
		fmt.Fprintf(e.stderr, "rollcall: warning: without %s, which this user cannot read in %s: back up as another user, or save it yourself\n", strings.Join(left, " and "), dir)
	}
	return err
}

// addFiles adds those files of a data directory that are not state and that this user may read, and
// returns the others.
func addFiles(w *transfer.Writer, dir string) (left []string, err error) {
	for _, name := range server.KeptFiles() {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				left = append(left, name) // the rights of the file decide who saves it
			}
			continue
		}
		if err := w.File(name, b); err != nil {
			return left, err
		}
	}
	return left, nil
}

// save copies what the server answers to /what to standard output, and checks that it is whole.
func (o *listening) save(e *env, what string, q url.Values, more func(*transfer.Writer) error) error {
	base, err := o.base(e)
	if err != nil {
		return err
	}
	body, err := open(e, base, "/"+what+"?"+q.Encode())
	if err != nil {
		return err
	}
	defer body.Close()
	r, err := transfer.NewReader(body)
	if err != nil {
		return broken(e, what, err)
	}
	p := newProgress(e, what, r.Header.Known())
	w := transfer.NewWriter(e.stdout, r.Header)
	var peers int64
	for {
		l, raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = w.Copy(l, raw)
		}
		if err != nil {
			p.done()
			return broken(e, what, err)
		}
		peers++
		p.at(peers)
	}
	w.Unread = r.Unread
	if err = more(w); err == nil {
		_, err = w.Close()
	}
	took := p.done()
	if err != nil {
		return broken(e, what, err)
	}
	if r.Unread > 0 {
		return &config.Hinted{
			Err:  fmt.Errorf("%s of %s in %s; %s could not be read and are missing", what, many(peers, "peer"), took, many(r.Unread, "peer")),
			Hint: "a later release wrote these, or another program did; \"rollcall status\" counts them",
		}
	}
	fmt.Fprintf(e.stderr, "%s of %s, %s\n", what, many(peers, "peer"), took)
	return nil
}

// private refuses to write states to a terminal, and keeps the file that they go to from others.
func private(e *env, what string) error {
	f, ok := e.stdout.(*os.File)
	if !ok {
		return nil
	}
	if term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(e.stderr, "rollcall: this goes to a file: rollcall %s > FILE\n", what)
		return errMisused
	}
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		_ = f.Chmod(0o600) // a file system without rights has none to give
	}
	return nil
}

// broken says that what was written is not whole.
func broken(e *env, what string, err error) error {
	if e.ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	return &config.Hinted{Err: fmt.Errorf("%s: %w", what, err), Hint: "what was written is not whole, and will be refused as such; run it again"}
}

// open asks the server for an answer of any length.
func open(e *env, base, target string) (io.ReadCloser, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = answerWithin
	transport.DisableKeepAlives = true
	r, err := http.NewRequestWithContext(e.ctx, http.MethodGet, base+target, nil)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", base, err)
	}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return nil, unreached(base, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", base, err)
	}
	return nil, refused(base, resp.StatusCode, b)
}
