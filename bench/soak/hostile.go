package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A stranger is one kind of abuse: so many connections from so many addresses, each of which does
// the same again and again, with a pause. None has more than what is inside every copy of the app.
type stranger struct {
	name      string
	conns     int
	addresses int
	pause     time.Duration
	play      func(ctx context.Context, s *scene) string // how it ended
}

// A scene is one go of a stranger.
type scene struct {
	net.Conn
	addr string
	r    *bufio.Reader
	n    int // which go of all
}

// hold is how long a stranger holds what it has got, when nothing ends it.
const hold = time.Minute

func (s *scene) say(text string) error {
	_ = s.SetWriteDeadline(time.Now().Add(hold))
	_, err := io.WriteString(s.Conn, text)
	return err
}

// readStatus returns the status of the answer.
func (s *scene) readStatus() string {
	_ = s.SetReadDeadline(time.Now().Add(hold))
	res, err := http.ReadResponse(s.r, nil)
	if err != nil {
		return "closed"
	}
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	return strconv.Itoa(res.StatusCode)
}

// stay waits until the server ends the connection.
func (s *scene) stay() string {
	_ = s.SetReadDeadline(time.Now().Add(hold))
	if _, err := io.Copy(io.Discard, s.r); err != nil && strings.Contains(err.Error(), "timeout") {
		return "held for " + hold.String()
	}
	return "closed"
}

const (
	idHead  = "Host: a\r\nX-LC-Id: " + appID + "\r\n"
	appHead = idHead + "X-LC-Key: " + appKey + "\r\nContent-Type: application/json\r\n"
	upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

func length(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }

// names returns n ids as JSON strings, of unknown peers.
func names(n int) string {
	var b strings.Builder
	first := rand.IntN(1 << 30)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"x` + strconv.Itoa(first+i) + `"`)
	}
	return b.String()
}

var (
	ids10000 = names(10_000)
	bomb     = func() string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, `{"peerIds":["`+strings.Repeat("a", 1000<<10)+`"]}`)
		_ = w.Close()
		return b.String()
	}()
	mebibyte = strings.Repeat(" ", 1<<20-1)
)

// all are the strangers.
var all = []stranger{
	{"slow heads", 2000, 20, 100 * time.Millisecond, func(ctx context.Context, s *scene) string {
		err := s.say("GET /v1/info HTTP/1.1\r\nHost: a\r\n")
		for range 20 {
			if wait(ctx, time.Second); err != nil || ctx.Err() != nil {
				break
			}
			err = s.say("X-A: b\r\n")
		}
		return s.stay()
	}},
	{"half frames", 500, 10, 100 * time.Millisecond, func(ctx context.Context, s *scene) string {
		if s.say("GET /v1/socket HTTP/1.1\r\nHost: a\r\n"+upgrade+"\r\n\x81") != nil {
			return "closed"
		}
		return s.stay()
	}},
	{"announced bodies", 200, 5, 200 * time.Millisecond, func(ctx context.Context, s *scene) string {
		_ = s.say("PUT /v1/nodes/x/sessions HTTP/1.1\r\n" + idHead + "X-Rollcall-Time: 1\r\nX-Rollcall-Signature: v2=00\r\nContent-Length: 16777216\r\n\r\n{")
		return s.readStatus()
	}},
	{"bodies of 1 MB", 20, 4, time.Second, func(ctx context.Context, s *scene) string {
		_ = s.say("POST /1.1/functions/getOnOffStatus HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 1048576\r\n\r\n" + mebibyte)
		if s.n%2 == 0 { // half of them stop a byte before the end
			_ = s.say("x")
		}
		return s.readStatus()
	}},
	{"small gzip", 20, 4, 200 * time.Millisecond, func(ctx context.Context, s *scene) string {
		_ = s.say("POST /1.1/functions/getOnOffStatus HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n" + length(bomb))
		return s.readStatus()
	}},
	{"missing bodies", 300, 5, 100 * time.Millisecond, func(ctx context.Context, s *scene) string {
		switch s.n % 3 {
		case 0:
			_ = s.say("GET /v1/socket HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
		case 1:
			_ = s.say("GET /v1/watch?peer=a HTTP/1.1\r\n" + appHead + "Content-Length: 100\r\n\r\n")
		default:
			_ = s.say("GET /v1/info HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
		}
		return s.readStatus()
	}},
	{"unread answers", 50, 5, time.Second, func(ctx context.Context, s *scene) string {
		_ = s.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		for range 20 {
			if s.say(strings.Repeat("GET /openapi/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n", 4)) != nil {
				return "closed"
			}
		}
		wait(ctx, hold)
		return "left alone"
	}},
	{"wrong keys", 20, 4, 50 * time.Millisecond, func(ctx context.Context, s *scene) string {
		last := ""
		for range 20 {
			if s.say("POST /1.1/functions/getOnOffStatus HTTP/1.1\r\n"+idHead+"X-LC-Key: wrong\r\n"+length(`{"peerIds":["a"]}`)) != nil {
				return "closed"
			}
			last = s.readStatus()
		}
		return last
	}},
	{"walks over ids", 200, 4, 0, func(ctx context.Context, s *scene) string {
		last := ""
		for range 10 {
			if s.say("POST /1.1/functions/getOnOffStatus HTTP/1.1\r\n"+appHead+length(`{"peerIds":[`+ids10000+`]}`)) != nil {
				return "closed"
			}
			last = s.readStatus()
			wait(ctx, time.Second)
		}
		return last
	}},
	{"streams", 10_000, 1, 20 * time.Second, func(ctx context.Context, s *scene) string {
		if s.say("POST /v1/watch HTTP/1.1\r\n"+appHead+length(`{"peers":[`+names(30)+`]}`)) != nil {
			return "closed"
		}
		_ = s.SetReadDeadline(time.Now().Add(hold))
		line, err := s.r.ReadString('\n')
		if err != nil {
			return "closed"
		}
		if status := strings.Fields(line); len(status) > 1 && status[1] != "200" {
			return status[1]
		}
		s.r.Reset(s.Conn)
		return s.stay()
	}},
	{"wide streams", 60, 2, time.Second, func(ctx context.Context, s *scene) string {
		if s.say("POST /v1/watch HTTP/1.1\r\n"+appHead+length(`{"peers":[`+names(3000)+`]}`)) != nil {
			return "closed"
		}
		return s.stay()
	}},
	{"fresh peers", 50, 3, 100 * time.Millisecond, func(ctx context.Context, s *scene) string {
		if s.say("GET /v1/socket HTTP/1.1\r\nHost: a\r\n"+upgrade+"\r\n") != nil {
			return "closed"
		}
		if got, err := http.ReadResponse(s.r, nil); err != nil || got.StatusCode != http.StatusSwitchingProtocols {
			return "not let in"
		}
		_ = s.say(frame(`{"op":"hello","app":"` + appID + `","key":"` + appKey + `"}`))
		_ = s.say(frame(fmt.Sprintf(`{"op":"present","peer":"fresh-%d-%d","id":1}`, s.n, rand.Int64())))
		wait(ctx, 100*time.Millisecond)
		return "let in"
	}},
}

// frame masks a short text message with zeros.
func frame(text string) string {
	head := []byte{0x81, 0x80 | byte(min(len(text), 126))}
	if len(text) >= 126 {
		head = append(head, byte(len(text)>>8), byte(len(text)))
	}
	return string(append(head, 0, 0, 0, 0)) + text
}

// hostility is all strangers at work.
type hostility struct {
	quit context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	ends  map[string]map[string]int // by stranger: how its goes ended
	named []string
}

func startHostile(ctx context.Context, addr string) *hostility {
	h := &hostility{ends: map[string]map[string]int{}}
	ctx, h.quit = context.WithCancel(ctx)
	host := 2
	for _, s := range all {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), s.name) {
			continue
		}
		h.ends[s.name] = map[string]int{}
		h.named = append(h.named, s.name)
		first := host
		host += s.addresses
		for i := range s.conns {
			h.done.Go(func() { h.haunt(ctx, addr, &s, first+i%s.addresses, i) })
		}
	}
	return h
}

// haunt plays s on one connection after the other.
func (h *hostility) haunt(ctx context.Context, addr string, s *stranger, host, i int) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(host>>8), byte(host))}, Timeout: 10 * time.Second}
	wait(ctx, time.Duration(rand.Int64N(int64(5*time.Second)))) // they come within five seconds
	for n := i; ctx.Err() == nil; n++ {
		end := "no connection"
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			end = s.play(ctx, &scene{Conn: c, addr: addr, r: bufio.NewReaderSize(c, 1<<10), n: n})
			stop()
			_ = c.Close()
		}
		if ctx.Err() != nil {
			return
		}
		h.mu.Lock()
		h.ends[s.name][end]++
		h.mu.Unlock()
		wait(ctx, max(s.pause, 20*time.Millisecond)+time.Duration(rand.Int64N(int64(100*time.Millisecond))))
	}
}

func (h *hostility) stop() {
	h.quit()
	h.done.Wait()
}

// report says how the goes of each stranger ended.
func (h *hostility) report() string {
	var b strings.Builder
	b.WriteString("| strangers | connections | how their goes ended |\n| --- | --- | --- |\n")
	for _, s := range all {
		ends, ok := h.ends[s.name]
		if !ok {
			continue
		}
		var list []string
		for end, n := range ends {
			list = append(list, fmt.Sprintf("%s %d", end, n))
		}
		slices.Sort(list)
		fmt.Fprintf(&b, "| %s | %d | %s |\n", s.name, s.conns, strings.Join(list, ", "))
	}
	return b.String()
}
