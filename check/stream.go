package check

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// An events is an event stream about the probe that is read all the time. Its user closes it.
type events struct {
	cancel context.CancelFunc
	in     chan string // names of events; closed at the end
	end    error       // why, after in is closed
}

func errKeptBack(what string) error {
	return failed(cureBuffering, "no %s came on the stream of /v1/watch within %v: something between keeps it back", what, soonest)
}

// soonest is how long a change may take to reach a stream; a proxy that keeps it back keeps it for
// ever.
var soonest = 10 * time.Second

// follow opens a stream.
func (c *checker) follow(outer context.Context) (*events, error) {
	ctx, cancel := context.WithCancel(outer)
	r, err := c.request(ctx, http.MethodGet, "/v1/watch?peer="+c.peer, nil, c.appKey())
	if err != nil {
		cancel()
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	late := time.AfterFunc(soonest, cancel) // a proxy that buffers may keep the head back as well
	resp, err := c.client.Do(r)
	switch {
	case err == nil && late.Stop():
	case err == nil:
		_ = resp.Body.Close()
		return nil, errKeptBack("answer")
	case (!late.Stop() || timedOut(err)) && outer.Err() == nil:
		cancel()
		return nil, errKeptBack("answer")
	default:
		cancel()
		return nil, unanswered("/v1/watch", err)
	}
	a := &answer{status: resp.StatusCode, head: resp.Header}
	if err = a.must(http.StatusOK, "/v1/watch"); err == nil && !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		err = failed(curePaths, "/v1/watch is not answered with an event stream")
	}
	if err != nil {
		cancel()
		_ = resp.Body.Close()
		return nil, err
	}
	e := &events{cancel: cancel, in: make(chan string, unreadMost)}
	go e.read(resp.Body)
	return e, nil
}

func (e *events) read(body io.ReadCloser) {
	defer close(e.in)
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		name, is := strings.CutPrefix(lines.Text(), "event: ")
		if !is {
			continue
		}
		select {
		case e.in <- name:
		default:
			e.end = errors.New("it sends without end")
			return
		}
	}
	e.end = lines.Err()
	if e.end == nil {
		e.end = io.EOF
	}
}

func (e *events) close() {
	e.cancel()
	for range e.in { //nolint:revive // until it is closed
	}
}

// expect waits for an event called name.
func (e *events) expect(ctx context.Context, name string) error {
	late := time.NewTimer(soonest)
	defer late.Stop()
	for {
		select {
		case got, ok := <-e.in:
			if !ok {
				return cut("the stream", e.end)
			}
			if got == name {
				return nil
			}
		case <-late.C:
			return errKeptBack(name)
		case <-ctx.Done():
			return cut("the stream", ctx.Err())
		}
	}
}

// stream follows the probe while it logs in.
func (c *checker) stream(ctx context.Context) (string, error) {
	if c.AppKey == "" {
		return "", skip("the app key is not set")
	}
	begun := c.Now()
	e, err := c.follow(ctx)
	if err != nil {
		return "", err
	}
	defer e.close()
	if err := e.expect(ctx, "snapshot"); err != nil {
		return "", err
	}
	first := c.Now().Sub(begun)
	n, err := c.present(ctx)
	if err != nil {
		return "", err
	}
	begun = c.Now()
	err = e.expect(ctx, "change")
	took := c.Now().Sub(begun)
	if err = errors.Join(err, n.absent(ctx)); err != nil {
		return "", err
	}
	return fmt.Sprintf("/v1/watch begins in %v; a login is on it %v later", first.Round(time.Millisecond/10), took.Round(time.Millisecond)), nil
}

// hold keeps a socket of each kind and a stream open, without a change.
func (c *checker) hold(ctx context.Context) (string, error) {
	switch {
	case c.AppKey == "":
		return "", skip("the app key is not set")
	case c.Hold == 0:
		return "", skip("nothing is held for 0s")
	}
	e, err := c.follow(ctx)
	if err != nil {
		return "", err
	}
	defer e.close()
	n, err := c.present(ctx)
	if err != nil {
		return "", err
	}
	defer n.close()
	held := "a stream and /v1/socket"
	if c.rtm != "" {
		s, err := c.login(ctx, &generations[1])
		if err != nil {
			return "", err
		}
		defer s.close()
		held = "a stream, /v1/socket and " + plain(c.rtm)
		if err := c.wait(ctx, e, n.line, s.line); err != nil {
			return "", err
		}
		if err := s.logout(ctx); err != nil {
			return "", err
		}
	} else if err := c.wait(ctx, e, n.line); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s stay open for %v", held, c.Hold), n.absent(ctx)
}

// wait waits out the time and fails when one of the connections ends before.
func (c *checker) wait(ctx context.Context, e *events, lines ...*line) error {
	begun := time.Now()
	over := time.NewTimer(c.Hold)
	defer over.Stop()
	after := func(what string, err error) error {
		return failed(cureCut, "%s was cut after %v: %v", what, time.Since(begun).Round(time.Second/10), reason(err))
	}
	gone, stop := make(chan error, len(lines)), make(chan struct{})
	defer close(stop)
	for _, l := range lines {
		go func() {
			select {
			case <-l.over:
				gone <- l.end
			case <-stop:
			}
		}()
	}
	for {
		select {
		case _, ok := <-e.in:
			if !ok {
				return after("the stream of /v1/watch", e.end)
			}
		case err := <-gone:
			return after("a silent socket", err)
		case <-over.C:
			for _, l := range lines {
				if err := l.ping(ctx); err != nil {
					return err
				}
			}
			return nil
		case <-ctx.Done():
			return cut("the stream", ctx.Err())
		}
	}
}
