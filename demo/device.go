package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// patience bounds each step with the server.
const patience = 20 * time.Second

// A device is a peer's socket to the server that can end in every way a phone can. Its methods work
// on nil.
type device struct {
	conn *websocket.Conn
	line *line
	done chan struct{} // closed when the socket is
}

// A line is a connection that can fall asleep: the other side then finds it open and silent.
type line struct {
	net.Conn
	asleep atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (l *line) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if l.asleep.Load() {
		<-l.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (l *line) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Conn.Close()
}

// login opens a socket and logs peer in on a device. The caller must end the device by logout or
// die.
func (d *Demo) login(ctx context.Context, peer, name, tag string) (*device, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dev := &device{done: make(chan struct{})}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		dev.line = &line{Conn: conn, closed: make(chan struct{})}
		return dev.line, nil
	}}
	defer transport.CloseIdleConnections()
	var err error
	url := "ws" + strings.TrimPrefix(d.cfg.URL, "http") + "/v1/socket"
	dev.conn, _, err = websocket.Dial(ctx, url, //nolint:bodyclose // Dial closes it
		&websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		return nil, err
	}
	for _, m := range []any{
		map[string]any{"op": "hello", "app": d.cfg.App, "key": d.cfg.Key},
		map[string]any{"op": "present", "id": 1, "peer": peer, "device": name, "tag": tag, "platform": "demo"},
	} {
		if err := wsjson.Write(ctx, dev.conn, m); err != nil {
			_ = dev.conn.CloseNow()
			return nil, err
		}
	}
	var answer struct{ Op, Error string }
	if err := wsjson.Read(ctx, dev.conn, &answer); err != nil || answer.Op != "ok" {
		_ = dev.conn.CloseNow()
		return nil, fmt.Errorf("log %s in: %s %w", peer, answer.Error, err)
	}
	go dev.read()
	return dev, nil
}

// read answers pings until the socket or its session ends.
func (d *device) read() {
	defer close(d.done)
	defer func() { _ = d.conn.CloseNow() }()
	for {
		_, raw, err := d.conn.Read(context.Background())
		var m struct{ Op string }
		if err != nil || json.Unmarshal(raw, &m) == nil && m.Op == "ended" {
			return
		}
	}
}

// ended reports whether the server or this side has ended the device.
func (d *device) ended() bool {
	if d == nil {
		return true
	}
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// logout leaves as a user who taps "log out".
func (d *device) logout() {
	if d.ended() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = wsjson.Write(ctx, d.conn, map[string]any{"op": "absent"})
	d.die()
}

// die cuts the connection without a word.
func (d *device) die() {
	if d == nil {
		return
	}
	_ = d.line.Close()
	<-d.done
}

// sleep stops answering, with the connection open.
func (d *device) sleep() { d.line.asleep.Store(true) }
