package main

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// readers are the watchers of one server.
type readers struct {
	ready, arrived, bytes atomic.Int64

	want atomic.Int64
	all  chan time.Time // when the wanted changes were received
}

// expect returns a channel that gets the time at which n more changes have been received.
func (r *readers) expect(n int) <-chan time.Time {
	r.all = make(chan time.Time, 1)
	r.want.Store(r.arrived.Load() + int64(n))
	return r.all
}

func (r *readers) add(n int) {
	if now := r.arrived.Add(int64(n)); now == r.want.Load() {
		r.all <- time.Now()
	}
}

// open starts one watcher of peers.
func (r *readers) open(way, address string, peers []string) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	if way == "sse" {
		_, err = fmt.Fprintf(c, "GET /v1/watch?%s HTTP/1.1\r\nHost: x\r\nX-LC-Id: %s\r\nX-LC-Key: %s\r\n\r\n", url.Values{"peer": peers}.Encode(), appID, appKey)
		go r.count(c, []byte("event: change"))
		return err
	}
	_, err = fmt.Fprint(c, "GET /v1/socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	if err != nil {
		return err
	}
	for _, m := range []string{
		fmt.Sprintf(`{"op":"hello","app":%q,"key":%q}`, appID, appKey),
		`{"op":"watch","peers":["` + strings.Join(peers, `","`) + `"]}`,
	} {
		if _, err := c.Write(frame(m)); err != nil {
			return err
		}
	}
	go r.count(c, []byte(`"op":"change"`))
	return nil
}

// frame returns m as a masked text frame; the mask is zero.
func frame(m string) []byte {
	b := []byte{0x81, 0x80 | byte(len(m))}
	if len(m) > 125 {
		b = []byte{0x81, 0x80 | 126, byte(len(m) >> 8), byte(len(m))}
	}
	return append(append(b, 0, 0, 0, 0), m...)
}

// count counts mark in what c is sent; a mark may be cut in two.
func (r *readers) count(c net.Conn, mark []byte) {
	defer c.Close()
	buf := make([]byte, 8<<10)
	kept, there := 0, false
	for {
		n, err := c.Read(buf[kept:])
		if err != nil {
			return
		}
		r.bytes.Add(int64(n))
		got := buf[:kept+n]
		if !there && bytes.Contains(got, []byte("snapshot")) {
			there = true
			r.ready.Add(1)
		}
		if hits := bytes.Count(got, mark); hits > 0 {
			r.add(hits)
		}
		kept = copy(buf, got[max(len(got)-len(mark)+1, 0):])
	}
}
