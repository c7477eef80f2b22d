// Command sockets measures what sockets cost that log in and stay: memory of a silent one, CPU of
// its heartbeats, logins a second, and how soon all are back after the server was killed. It runs
// rollcall, rollcall with a goroutine for each socket, and the plainest coder/websocket server one
// after the other, in one run:
//
//	go run ./sockets                18,000 sockets, about 6 minutes
//	go run ./sockets -quick         everything once in some seconds: for CI, not for figures
//
// The load comes from processes of its own, each from another loopback address, because a process
// may hold 20,000 descriptors here and an address 28,000 ports.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	appID     = "rollcallBenchAppId000001"
	masterKey = "rollcallBenchMaster00001"
	loaders   = 3
)

var (
	sockets = flag.Int("n", 18000, "sockets")
	idle    = flag.Duration("idle", 45*time.Second, "how long heartbeats are measured")
	settle  = flag.Duration("settle", 20*time.Second, "how long what the logins left behind may take to be swept up")
	quick   = flag.Bool("quick", false, "200 sockets and no waiting: proves that nothing rots")
	load    = flag.String("load", "", "internal: be a load process of ADDRESS,COUNT,LOOPBACK")
)

func main() {
	flag.Parse()
	if *quick {
		*sockets, *idle, *settle = 200, time.Second, 0
	}
	var err error
	if *load != "" {
		err = beLoad(*load)
	} else {
		err = measure()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sockets:", err)
		os.Exit(1)
	}
}

// A figure is what one server cost.
type figure struct {
	name            string
	perSocket       int64         // bytes of resident memory
	heartbeats      float64       // % of a core per 10,000 sockets
	loginsPerSecond float64       // of all loaders together
	loginCPU        time.Duration // of the server
	back            time.Duration // until all were back after a kill; zero: not measured
	changes         string        // times that a status turned because of it
}

func measure() error {
	dir, err := os.MkdirTemp("", "rollcall-sockets")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for out, pkg := range map[string]string{"rollcall": "./cmd/rollcall", "coder": "./bench/sockets/coder"} {
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, out), pkg)
		cmd.Dir = ".."
		if out == "coder" {
			cmd.Dir, cmd.Args[len(cmd.Args)-1] = ".", "./sockets/coder"
		}
		if b, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", out, err, b)
		}
	}
	var all []figure
	for _, s := range []struct {
		name string
		env  []string
	}{{"coder", nil}, {"rollcall, a goroutine each", []string{"ROLLCALL_GATEWAY_ONE_GOROUTINE=true"}}, {"rollcall", nil}} {
		f, err := one(dir, s.name, s.env)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(os.Stderr, "%+v\n", f)
		all = append(all, f)
	}
	fmt.Printf("\n%d sockets, %s, %s, %d cores\n\n", *sockets, runtime.Version(), runtime.GOARCH, runtime.NumCPU())
	fmt.Println("| server | bytes a silent socket | ratio | heartbeats: % of a core per 10,000 | logins/s | CPU per login | all back after a kill | changes of status by it |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, f := range all {
		back := "–"
		if f.back > 0 {
			back = f.back.Round(10 * time.Millisecond).String()
		}
		fmt.Printf("| %s | %d | %.2f | %.2f | %.0f | %v | %s | %s |\n", f.name, f.perSocket, float64(f.perSocket)/float64(all[0].perSocket),
			f.heartbeats, f.loginsPerSecond, f.loginCPU.Round(time.Microsecond), back, f.changes)
	}
	return nil
}

// A server is one that is being measured.
type server struct {
	cmd         *exec.Cmd
	addr, admin string
}

func start(dir, name, addr, admin string, env []string) (*server, error) {
	s := &server{addr: addr, admin: admin}
	if strings.HasPrefix(name, "rollcall") {
		s.cmd = exec.Command(filepath.Join(dir, "rollcall"), "serve", "--listen", addr, "--admin", admin, "--data", filepath.Join(dir, "data-"+strings.ReplaceAll(name, " ", "-")))
		s.cmd.Env = append(append(os.Environ(), "LEANCLOUD_APP_ID="+appID, "LEANCLOUD_APP_KEY=rollcallBenchKey00000001",
			"LEANCLOUD_APP_MASTER_KEY="+masterKey, "LEANCLOUD_APP_HOOK_KEY=rollcallBenchHook0000001",
			"ROLLCALL_GATEWAY_CONNECT_RATE=0", "ROLLCALL_GATEWAY_APP_LOGIN_RATE=0", "ROLLCALL_GATEWAY_APP_NEW_PEER_RATE=0", "ROLLCALL_LOG_LEVEL=warn",
			// A proxy may hold more than half of the connections.
			"ROLLCALL_PROXIES=127.0.0.0/8"), env...)
	} else {
		s.cmd = exec.Command(filepath.Join(dir, "coder"), addr)
	}
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for range 2000 {
		resp, err := http.Get("http://" + addr + "/v1/route")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusServiceUnavailable {
				return s, nil
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, errors.New("it does not answer")
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait() // killed
}

func one(dir, name string, env []string) (f figure, err error) {
	f.name, f.changes = name, "–"
	ports, err := freePorts(2)
	if err != nil {
		return f, err
	}
	s, err := start(dir, name, ports[0], ports[1], env)
	if err != nil {
		return f, err
	}
	defer func() { s.kill() }()
	time.Sleep(2 * time.Second)
	empty, cpu := s.memory(), s.cpu()
	began := time.Now()
	l, err := startLoad(s.addr)
	if err != nil {
		return f, err
	}
	defer l.stop()
	if err := l.wait("in"); err != nil {
		return f, err
	}
	f.loginsPerSecond = float64(*sockets) / time.Since(began).Seconds()
	f.loginCPU = (s.cpu() - cpu) / time.Duration(*sockets)
	time.Sleep(*settle)
	cpu, began = s.cpu(), time.Now()
	time.Sleep(*idle)
	f.heartbeats = 100 * (s.cpu() - cpu).Seconds() / time.Since(began).Seconds() / float64(*sockets) * 10_000
	f.perSocket = (s.memory() - empty) / int64(*sockets)
	if !strings.HasPrefix(name, "rollcall") {
		return f, nil
	}
	s.kill()
	began = time.Now()
	if s, err = start(dir, name, ports[0], ports[1], env); err != nil {
		return f, err
	}
	if err := l.wait("back"); err != nil {
		return f, err
	}
	f.back = time.Since(began)
	f.changes, err = s.metric("rollcall_changes_total")
	return f, err
}

func freePorts(n int) (all []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		all = append(all, l.Addr().String())
	}
	return all, nil
}

// memory returns the resident memory of the server in bytes.
func (s *server) memory() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	words := strings.Fields(string(b))
	if len(words) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(words[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// cpu returns what the server has spent, in clock ticks of 10 ms.
func (s *server) cpu() time.Duration {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	words := strings.Fields(rest)
	if len(words) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(words[11], 10, 64)
	system, _ := strconv.ParseInt(words[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond
}

func (s *server) metric(name string) (string, error) {
	resp, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	for in := bufio.NewScanner(resp.Body); in.Scan(); {
		if value, ok := strings.CutPrefix(in.Text(), name+" "); ok {
			return value, nil
		}
	}
	return "", fmt.Errorf("no metric %s", name)
}

// loading are the load processes.
type loading struct {
	cmds []*exec.Cmd
	outs []*bufio.Scanner
}

func startLoad(addr string) (*loading, error) {
	l := &loading{}
	for i := range loaders {
		n := *sockets / loaders
		if i == 0 {
			n += *sockets % loaders
		}
		cmd := exec.Command(os.Args[0], "-load", fmt.Sprintf("%s,%d,127.0.0.%d", addr, n, i+2))
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		l.cmds, l.outs = append(l.cmds, cmd), append(l.outs, bufio.NewScanner(out))
	}
	return l, nil
}

// wait waits until every process says word.
func (l *loading) wait(word string) error {
	for _, out := range l.outs {
		for {
			if !out.Scan() {
				return fmt.Errorf("a load process ended before it printed %q", word)
			}
			if out.Text() == word {
				break
			}
		}
	}
	return nil
}

func (l *loading) stop() {
	for _, c := range l.cmds {
		_ = c.Process.Kill()
		_ = c.Wait() // killed
	}
}
