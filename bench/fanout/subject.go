package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const (
	appID     = "rollcallBenchAppId000001"
	appKey    = "rollcallBenchAppKey00001"
	masterKey = "rollcallBenchMaster00001"
	hookKey   = "rollcallBenchHookKey0001"
)

// A subject is one server with its watchers.
type subject struct {
	readers
	name   string
	cmd    *exec.Cmd
	quit   func()
	change func(round int) error // returns once the change is acknowledged
	round  int
}

func (s *subject) stop() {
	s.quit()
	_ = s.cmd.Wait()
}

// A window is what a subject cost for some changes.
type window struct {
	cpu    time.Duration
	frames int
	bytes  int             // of one frame
	took   []time.Duration // from each acknowledgement to the last delivery
}

// frame is the CPU for one frame to one watcher in µs.
func (w *window) frame() float64 {
	return float64(w.cpu) / float64(w.frames) / float64(time.Microsecond)
}

// play makes n changes, each when all have received the last, and puts what they cost into w.
func (s *subject) play(w *window, n int) error {
	before, err := cpuOf(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	s.bytes.Store(0)
	for range n {
		time.Sleep(tick) // changes that come singly; the server's next tick is free
		arrived := s.expect(*watchers)
		if err := s.change(s.round); err != nil {
			return err
		}
		s.round++
		acknowledged := time.Now()
		select {
		case last := <-arrived:
			// A watcher may be notified before the reporter has its answer.
			w.took = append(w.took, max(0, last.Sub(acknowledged)))
		case <-time.After(30 * time.Second):
			return fmt.Errorf("not all watchers received change %d within 30 s", s.round)
		}
	}
	after, err := cpuOf(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	w.cpu, w.frames = after-before, n**watchers
	w.bytes = int(s.bytes.Load()) / w.frames
	return nil
}

// rollcall starts a server with its watchers, who come by way.
func rollcall(dir, program, way string, burst int) (*subject, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	operator, err := freeAddress()
	if err != nil {
		return nil, err
	}
	name := way
	if strings.Contains(*programs, ",") {
		name += " " + filepath.Base(program)
	}
	args := []string{"serve", "--listen", address, "--admin", operator, "--data", filepath.Join(dir, fmt.Sprint(name, burst))}
	for _, set := range []string{
		// Nothing but changes is to be sent.
		"watch.tick=" + tick.String(), "watch.mark=1h", "gateway.ping=0s", "gateway.lease=1h",
		"gate.limits.streams.per_second=0", "gate.limits.ask.per_second=0", "gate.limits.ask_peers.per_second=0", "gateway.connect_rate=0",
		"watch.address_watchers=0", "watch.address_peers=0",
	} {
		args = append(args, "--set", set)
	}
	if *profiled {
		args = append(args, "--profiling")
		fmt.Printf("%s: http://%s/debug/pprof/\n", name, operator)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "LEANCLOUD_APP_ID="+appID, "LEANCLOUD_APP_KEY="+appKey, "LEANCLOUD_APP_MASTER_KEY="+masterKey, "LEANCLOUD_APP_HOOK_KEY="+hookKey)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &subject{
		name: name, cmd: cmd, quit: func() { _ = cmd.Process.Kill() },
		change: func(round int) error { return report(address, burst, round) }, round: 1,
	}
	if err := await(func() bool { return report(address, burst, 0) == nil }); err != nil {
		s.stop()
		return nil, fmt.Errorf("%s does not answer: %w", name, err)
	}
	for i := range *watchers {
		peers := names(burst)
		if *apart {
			peers = append(peers, "own-"+strconv.Itoa(i))
		}
		if err := s.open(way, address, peers); err != nil {
			s.stop()
			return nil, err
		}
	}
	if err := await(func() bool { return s.ready.Load() == int64(*watchers) }); err != nil {
		s.stop()
		return nil, fmt.Errorf("%d of %d watchers are there: %w", s.ready.Load(), *watchers, err)
	}
	return s, nil
}

// names are the peers that change.
func names(burst int) []string {
	all := make([]string, burst)
	for i := range all {
		all[i] = "peer-" + strconv.Itoa(i)
	}
	return all
}

// loop starts a process that does nothing but write size bytes to every socket: bare, as anybody
// would in Go, or raw, as thin as a write can be.
func loop(name string, size int) (*subject, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-bare", name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &subject{name: name + " loop", cmd: cmd, quit: func() { _ = in.Close() }}
	s.change = func(int) error {
		_, err := fmt.Fprintf(in, "%d %d\n", *watchers, size)
		return err
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.stop()
		return nil, err
	}
	for range *watchers {
		c, err := net.Dial("tcp", strings.TrimSpace(address))
		if err != nil {
			s.stop()
			return nil, err
		}
		go s.count(c, []byte(bareMark))
	}
	return s, nil
}

const bareMark = "\x01"

// beBare accepts sockets and writes to all of them what each line of in asks: "SOCKETS BYTES".
func beBare(in io.Reader, out io.Writer, raw bool) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, l.Addr())
	var conns []net.Conn
	var fds []uintptr
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
			direct, err := c.(*net.TCPConn).SyscallConn()
			if err != nil {
				return err
			}
			// None is closed before the process ends.
			if err := direct.Control(func(fd uintptr) { fds = append(fds, fd) }); err != nil {
				return err
			}
		}
		frame := append([]byte(bareMark), bytes.Repeat([]byte("x"), max(size-1, 0))...)
		for i, c := range conns {
			if raw {
				n, _, failed := syscall.RawSyscall6(syscall.SYS_SENDTO, fds[i], uintptr(unsafe.Pointer(&frame[0])), uintptr(len(frame)), syscall.MSG_DONTWAIT, 0, 0)
				if failed != 0 || int(n) != len(frame) {
					return fmt.Errorf("wrote %d of %d bytes: %w", n, len(frame), failed)
				}
			} else if _, err := c.Write(frame); err != nil {
				return err
			}
		}
	}
	return nil
}

// report turns burst peers, on in even rounds and off in odd ones.
func report(address string, burst, round int) error {
	var b strings.Builder
	for _, peer := range names(burst) {
		state := "online"
		if round%2 == 1 {
			state = "offline"
		}
		fmt.Fprintf(&b, `,{"peer":%q,"state":%q,"session":"s%d","why":"logout"}`, peer, state, round/2)
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
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
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

// cpuOf returns the CPU time that the threads of process pid have used, to the nanosecond. A Go
// process ends none of them here.
func cpuOf(pid int) (time.Duration, error) {
	dir := fmt.Sprintf("/proc/%d/task", pid)
	threads, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, t := range threads {
		b, err := os.ReadFile(filepath.Join(dir, t.Name(), "schedstat"))
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(b), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%q is no schedstat", b)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}
