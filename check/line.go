package check

import (
	"context"
	"errors"
	"net/http"

	"github.com/coder/websocket"
)

// A line is a WebSocket that is read all the time, so that pings are answered and its end is seen.
// Its user closes it.
type line struct {
	*websocket.Conn
	in   chan []byte   // messages; closed at the end
	end  error         // why, after in is closed
	over chan struct{} // closed with in
}

// unreadMost is how many messages may wait; a server that sends more meanwhile is no rollcall.
const unreadMost = 256

// dial opens a WebSocket.
func (c *checker) dial(ctx context.Context, target string, subprotocols ...string) (*line, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	opts := &websocket.DialOptions{HTTPClient: &c.client, Subprotocols: subprotocols}
	conn, resp, err := websocket.Dial(ctx, target, opts) //nolint:bodyclose // Dial closes it
	switch {
	case err == nil:
	case resp == nil:
		return nil, unanswered("the WebSocket at "+target, err)
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return nil, failed(cureRedirects, "the WebSocket at %s is redirected to %s", plain(target), plain(resp.Header.Get("Location")))
	case resp.StatusCode == http.StatusTooManyRequests:
		return nil, failed(cureAddress, "the WebSocket at %s is refused with 429: too many from this address", plain(target))
	default:
		return nil, failed(cureUpgrade, "%s does not become a WebSocket: it is answered with %d", plain(target), resp.StatusCode)
	}
	if len(subprotocols) > 0 && conn.Subprotocol() != subprotocols[0] {
		_ = conn.CloseNow()
		return nil, failed(cureUpgrade, "%s does not choose the subprotocol %s: the proxy drops Sec-WebSocket-Protocol", plain(target), subprotocols[0])
	}
	l := &line{Conn: conn, in: make(chan []byte, unreadMost), over: make(chan struct{})}
	go l.read()
	return l, nil
}

func (l *line) read() {
	defer close(l.over)
	defer close(l.in)
	for {
		_, b, err := l.Conn.Read(context.Background())
		if err != nil {
			l.end = err
			return
		}
		select {
		case l.in <- b:
		default:
			l.end = errors.New("it sends without end")
			_ = l.CloseNow()
			return
		}
	}
}

// close ends l and waits for its reader.
func (l *line) close() {
	_ = l.CloseNow()
	for range l.in { //nolint:revive // until it is closed
	}
}

// next returns the next message.
func (l *line) next(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	select {
	case b, ok := <-l.in:
		if !ok {
			return nil, cut("the socket", l.end)
		}
		return b, nil
	case <-ctx.Done():
		return nil, cut("the socket", ctx.Err())
	}
}

// write sends a message.
func (l *line) write(ctx context.Context, kind websocket.MessageType, b []byte) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := l.Conn.Write(ctx, kind, b); err != nil {
		return cut("the socket", err)
	}
	return nil
}

// ping sends a ping and waits for its answer.
func (l *line) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := l.Conn.Ping(ctx); err != nil {
		return cut("a ping on the socket", err)
	}
	return nil
}

// cut says how a socket or a stream ended.
func cut(what string, err error) error {
	var closed websocket.CloseError
	switch {
	case errors.As(err, &closed):
		return failed(cureCut, "%s was closed with %d %s", what, closed.Code, plain(closed.Reason))
	case errors.Is(err, context.Canceled):
		return failed(cureNoAnswer, "interrupted")
	case errors.Is(err, context.DeadlineExceeded):
		return failed(cureNoAnswer, "%s was not answered within %v", what, within)
	}
	return failed(cureCut, "%s was cut: %v", what, reason(err))
}
