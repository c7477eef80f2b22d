// Command fanout measures what it costs to tell one change to many watchers: CPU of the server per delivery, and the time
// from the acknowledgement of a report to the last delivery. Watchers come over server-sent events and over WebSockets; changes
// come singly and in bursts of fifty peers. Beside them, in the same run, a bare loop writes the same bytes to as many sockets.
//
//	go run ./fanout            1,000 watchers, about a minute
//	go run ./fanout -quick     some, for CI: no figures
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	appID     = "rollcallBenchAppId000001"
	appKey    = "rollcallBenchAppKey00001"
	masterKey = "rollcallBenchMaster00001"
	hookKey   = "rollcallBenchHookKey0001"
	tick      = 20 * time.Millisecond // so that single changes need not wait long for each other
)

var (
	watchers = flag.Int("n", 1000, "watchers")
	rounds   = flag.Int("rounds", 100, "changes, or bursts of changes, for each figure")
	quick    = flag.Bool("quick", false, "10 watchers and 3 rounds: proves that nothing rots")
	bare     = flag.Bool("bare", false, "internal: be the bare loop")
)

func main() {
	flag.Parse()
	if *quick {
		*watchers, *rounds = 10, 3
	}
	err := error(nil)
	if *bare {
		err = beBare(os.Stdin, os.Stdout)
	} else {
		err = measure()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanout:", err)
		os.Exit(1)
	}
}

// A figure is what one kind of watching cost.
type figure struct {
	name  string
	burst int
	cpu   time.Duration // of the server for one frame to one watcher
	p99   time.Duration // from the acknowledgement to the last delivery
	bytes int           // of one frame
}

func measure() error {
	dir, err := os.MkdirTemp("", "rollcall-fanout")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "rollcall"), "./cmd/rollcall")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build rollcall: %w: %s", err, out)
	}
	fmt.Printf("%-10s %6s %8s %14s %16s %10s\n", "way", "burst", "bytes", "µs a frame", "µs a delivery", "p99 ms")
	for _, burst := range []int{1, 50} {
		sizes := map[string]int{}
		for _, way := range []string{"sse", "socket"} {
			f, err := rollcall(dir, way, burst)
			if err != nil {
				return fmt.Errorf("%s: %w", way, err)
			}
			f.print()
			sizes[way] = f.bytes
		}
		f, err := loop(sizes["sse"], burst)
		if err != nil {
			return fmt.Errorf("bare loop: %w", err)
		}
		f.print()
	}
	return nil
}

func (f *figure) print() {
	fmt.Printf("%-10s %6d %8d %14.1f %16.2f %10.1f\n", f.name, f.burst, f.bytes, micros(f.cpu), micros(f.cpu)/float64(f.burst), float64(f.p99)/1e6)
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// rollcall measures one way of watching.
func rollcall(dir, way string, burst int) (figure, error) {
	address, err := freeAddress()
	if err != nil {
		return figure{}, err
	}
	cmd := exec.Command(filepath.Join(dir, "rollcall"), "serve", "--listen", address, "--admin", "127.0.0.1:0", "--data", filepath.Join(dir, way+strconv.Itoa(burst)),
		"--set", "watch.tick="+tick.String(), "--set", "gate.limits.streams.per_second=0", "--set", "gate.limits.ask.per_second=0",
		"--set", "gate.limits.ask_peers.per_second=0", "--set", "gateway.connect_rate=0")
	cmd.Env = append(os.Environ(), "LEANCLOUD_APP_ID="+appID, "LEANCLOUD_APP_KEY="+appKey, "LEANCLOUD_APP_MASTER_KEY="+masterKey, "LEANCLOUD_APP_HOOK_KEY="+hookKey)
	if err := cmd.Start(); err != nil {
		return figure{}, err
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	r := &readers{way: way}
	if err := await(func() bool { return report(address, burst, 0) == nil }); err != nil {
		return figure{}, err
	}
	for range *watchers {
		if err := r.open(address, burst); err != nil {
			return figure{}, err
		}
	}
	if err := await(func() bool { return r.ready.Load() == int64(*watchers) }); err != nil {
		return figure{}, fmt.Errorf("%d of %d watchers are there: %w", r.ready.Load(), *watchers, err)
	}
	return r.play(way, burst, cmd.Process.Pid, func(round int) error { return report(address, burst, round) })
}

// loop measures a loop that writes size bytes to every socket.
func loop(size, burst int) (figure, error) {
	self, err := os.Executable()
	if err != nil {
		return figure{}, err
	}
	cmd := exec.Command(self, "-bare")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return figure{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return figure{}, err
	}
	if err := cmd.Start(); err != nil {
		return figure{}, err
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	lines := bufio.NewReader(out)
	address, err := lines.ReadString('\n')
	if err != nil {
		return figure{}, err
	}
	r := &readers{way: "bare"}
	for range *watchers {
		c, err := net.Dial("tcp", strings.TrimSpace(address))
		if err != nil {
			return figure{}, err
		}
		go r.count(c, []byte(bareMark))
	}
	return r.play("bare loop", burst, cmd.Process.Pid, func(int) error {
		if _, err := fmt.Fprintf(in, "%d %d\n", *watchers, size); err != nil {
			return err
		}
		return nil
	})
}

const bareMark = "\x01"

// beBare accepts sockets and writes to all of them what each line of in asks: "SOCKETS BYTES".
func beBare(in io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr())
	var conns []net.Conn
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var n, size int
		if _, err := fmt.Sscan(lines.Text(), &n, &size); err != nil {
			return err
		}
		for len(conns) < n {
			c, err := l.Accept()
			if err != nil {
				return err
			}
			conns = append(conns, c)
		}
		frame := append([]byte(bareMark), bytes.Repeat([]byte("x"), max(size-1, 0))...)
		for _, c := range conns {
			if _, err := c.Write(frame); err != nil {
				return err
			}
		}
	}
	return nil
}

// readers are the watchers of one measurement.
type readers struct {
	way                 string
	ready, heard, bytes atomic.Int64
}

// open starts one watcher of burst peers.
func (r *readers) open(address string, burst int) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	if r.way == "sse" {
		var q strings.Builder
		for i := range burst {
			fmt.Fprintf(&q, "&peer=peer-%d", i)
		}
		_, err = fmt.Fprintf(c, "GET /v1/watch?%s HTTP/1.1\r\nHost: x\r\nX-LC-Id: %s\r\nX-LC-Key: %s\r\n\r\n", q.String()[1:], appID, appKey)
		go r.count(c, []byte("event: change"))
		return err
	}
	_, err = fmt.Fprint(c, "GET /v1/socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	if err != nil {
		return err
	}
	var ids []string
	for i := range burst {
		ids = append(ids, fmt.Sprintf("%q", fmt.Sprintf("peer-%d", i)))
	}
	for _, m := range []string{
		fmt.Sprintf(`{"op":"hello","app":%q,"key":%q}`, appID, appKey),
		`{"op":"watch","peers":[` + strings.Join(ids, ",") + `]}`,
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
	buf := make([]byte, 64<<10)
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
			r.heard.Add(int64(hits))
		}
		kept = copy(buf, got[max(len(got)-len(mark)+1, 0):])
	}
}

// play makes rounds of changes, each when all have heard the last, and measures process pid meanwhile.
func (r *readers) play(name string, burst, pid int, change func(round int) error) (figure, error) {
	if err := r.round(change, 1); err != nil { // the first is for warming up
		return figure{}, err
	}
	before, err := cpuOf(pid)
	if err != nil {
		return figure{}, err
	}
	r.bytes.Store(0)
	took := make([]time.Duration, 0, *rounds)
	for i := range *rounds {
		time.Sleep(tick) // changes that come singly; the server's next tick is free
		start := time.Now()
		if err := r.round(change, i+2); err != nil {
			return figure{}, err
		}
		took = append(took, time.Since(start))
	}
	after, err := cpuOf(pid)
	if err != nil {
		return figure{}, err
	}
	slices.Sort(took)
	frames := *rounds * *watchers
	return figure{
		name: name, burst: burst, cpu: (after - before) / time.Duration(frames), p99: took[len(took)*99/100],
		bytes: int(r.bytes.Load()) / frames,
	}, nil
}

func (r *readers) round(change func(int) error, i int) error {
	want := r.heard.Load() + int64(*watchers)
	if err := change(i); err != nil {
		return err
	}
	return await(func() bool { return r.heard.Load() >= want })
}

// report turns burst peers, on in even rounds and off in odd ones.
func report(address string, burst, round int) error {
	var b strings.Builder
	for i := range burst {
		state := "online"
		if round%2 == 1 {
			state = "offline"
		}
		fmt.Fprintf(&b, `,{"peer":"peer-%d","state":%q,"session":"s%d","why":"logout"}`, i, state, round/2)
	}
	r, err := http.NewRequest(http.MethodPost, "http://"+address+"/v1/events", strings.NewReader(`{"events":[`+b.String()[1:]+`]}`))
	if err != nil {
		return err
	}
	r.Header.Set("X-LC-Id", appID)
	r.Header.Set("Authorization", "Bearer "+masterKey)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answered %s", res.Status)
	}
	return nil
}

// await waits until ok, or fails after 30 s.
func await(ok func() bool) error {
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			return fmt.Errorf("waited for 30 s")
		}
	}
	return nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// cpuOf returns the CPU time that process pid has used.
func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("%q is no stat", b)
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("%q is no stat", b)
	}
	return time.Duration(user+system) * 10 * time.Millisecond, nil
}
