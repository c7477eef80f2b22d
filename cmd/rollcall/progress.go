package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A progress shows on a terminal how far something that takes long has come. Elsewhere it only
// keeps the time.
type progress struct {
	begun time.Time
	total int64
	bar   *progressbar.ProgressBar // nil: nothing is shown
}

// newProgress shows what is being done on the standard error of e, if that is a terminal. total is
// how many steps there will be, about; 0 when that is not known.
func newProgress(e *env, what string, total int64) *progress {
	p := &progress{begun: time.Now(), total: total}
	f, ok := e.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return p
	}
	if total <= 0 {
		total = -1
	}
	p.bar = progressbar.NewOptions64(
		total, progressbar.OptionSetWriter(f), progressbar.OptionSetDescription(what), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString("peers"), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0), // nothing draws once it is done
		progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30), progressbar.OptionSetPredictTime(total > 0),
	)
	return p
}

// at shows that n steps are done.
func (p *progress) at(n int64) {
	if p.bar == nil {
		return
	}
	if p.total > 0 && n > p.total { // there are more than were counted
		p.total = n
		p.bar.ChangeMax64(n)
	}
	_ = p.bar.Set64(n)
}

// done takes what is shown away and returns how long it took, for people.
func (p *progress) done() string {
	if p.bar != nil {
		_ = p.bar.Clear()
		_ = p.bar.Exit()
	}
	took := time.Since(p.begun)
	if took < time.Second {
		return max(took.Round(time.Millisecond), time.Millisecond).String()
	}
	return took.Round(100 * time.Millisecond).String()
}

// many returns n things, for people.
func many(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// openInput opens a file, or standard input for "-". What may wait, which is all but a regular
// file, is read until e is interrupted.
func openInput(e *env, name string) (io.ReadCloser, error) {
	if name != "-" {
		st, err := os.Stat(name)
		switch {
		case err != nil:
			return os.Open(name) // whose error has the same form
		case st.IsDir():
			return nil, fmt.Errorf("%s is a directory, not a file", name)
		case st.Mode().IsRegular():
			return os.Open(name)
		}
	}
	r, w := io.Pipe()
	go func() { // a read that waits does not end; the process does
		_ = w.CloseWithError(copyInput(w, name))
	}()
	context.AfterFunc(e.ctx, func() { _ = w.CloseWithError(e.ctx.Err()) })
	return r, nil
}

func copyInput(w io.Writer, name string) error {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return err
		}
		defer f.Close()
	}
	_, err := io.Copy(w, f)
	return err
}
