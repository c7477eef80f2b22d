// Command soak plays honest load beside everything that a stranger may try, all of it at once and all of it on loopback, and
// holds the server to three promises: the p99 of honest calls stays within three times that of a quiet server, its memory grows by
// 200 MiB at most, and nothing honest is refused.
//
//	go run ./soak           30 s quiet, 3 minutes beside the strangers
//	go run ./soak -quick    3 s and 10 s: for CI; the figures say little
//
// The server has one core, the load another. Honest callers come from 127.0.0.1, strangers from other loopback addresses, each with a
// share of what there is to do. It ends with 0 when the promises hold, 1 when not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	appID     = "rollcallSoakAppId0000001"
	appKey    = "rollcallSoakAppKey000001"
	masterKey = "rollcallSoakMaster000001"
	hookKey   = "rollcallSoakHookKey00001"
)

var (
	quietFor   = flag.Duration("quiet", 30*time.Second, "how long honest callers are alone")
	hostileFor = flag.Duration("for", 3*time.Minute, "how long the strangers are there")
	quick      = flag.Bool("quick", false, "3 s and 10 s: proves that nothing rots")
	program    = flag.String("program", "", "a rollcall that is built already; empty builds the one here")
	profiled   = flag.Bool("profiling", false, "open /debug/pprof/ of the server and say where")
	strangers  = flag.String("strangers", "", "internal: play the strangers against this address until standard input ends")
	only       = flag.String("only", "", "strangers to play, separated by commas; empty plays all")
)

func main() {
	flag.Parse()
	if *quick {
		*quietFor, *hostileFor = 3*time.Second, 10*time.Second
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *strangers != "" {
		bad := startHostile(ctx, *strangers)
		_, _ = io.Copy(io.Discard, os.Stdin)
		bad.stop()
		fmt.Print(bad.report())
		return
	}
	if err := soak(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func soak(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "rollcall-soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if *program == "" {
		*program = filepath.Join(dir, "rollcall")
		build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", *program, "./cmd/rollcall")
		build.Dir, build.Stderr = "..", os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build rollcall (run this in bench/): %w", err)
		}
	}
	srv, err := launch(ctx, dir)
	if err != nil {
		return err
	}
	defer srv.stop()
	if runtime.NumCPU() > 1 {
		// The load keeps off the server's core.
		if err := exec.Command("taskset", "-a", "-p", "-c", fmt.Sprintf("1-%d", runtime.NumCPU()-1), strconv.Itoa(os.Getpid())).Run(); err != nil {
			return fmt.Errorf("taskset: %w", err)
		}
	}
	good := newHonest(srv.addr)
	if err := good.start(ctx); err != nil {
		return err
	}
	defer good.stop()
	wait(ctx, 2*time.Second) // connections and caches
	good.reset()
	fmt.Printf("quiet for %v\n", *quietFor)
	cpu := srv.cpu()
	wait(ctx, *quietFor)
	quiet := good.reset()
	quiet.cores = (srv.cpu() - cpu).Seconds() / quietFor.Seconds()
	cpu = srv.cpu()
	before := srv.memory()
	fmt.Printf("strangers for %v\n", *hostileFor)
	bad, err := invite(srv.addr)
	if err != nil {
		return err
	}
	defer bad.leave()
	most := before
	for end := time.Now().Add(*hostileFor); time.Now().Before(end) && ctx.Err() == nil; {
		wait(ctx, 500*time.Millisecond)
		most = max(most, srv.memory())
		if err := srv.ended(); err != nil {
			return err
		}
	}
	hostile := good.reset()
	hostile.cores = (srv.cpu() - cpu).Seconds() / hostileFor.Seconds()
	alive := answers("http://" + srv.admin + "/livez")
	report := bad.leave()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return verdict(quiet, hostile, before, most, report, alive)
}

// verdict prints the figures and says which promise is broken.
func verdict(quiet, hostile figures, before, most int64, report string, alive error) error {
	fmt.Printf("\n| honest | quiet p50 | quiet p99 | beside strangers p50 | p99 | p99 ratio | calls | refused |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	var broken []string
	for i := range quiet.kinds {
		q, h := quiet.kinds[i], hostile.kinds[i]
		ratio := float64(h.at(.99)) / float64(q.at(.99))
		fmt.Printf("| %s | %v | %v | %v | %v | %.1f | %d | %d |\n", q.name, round(q.at(.5)), round(q.at(.99)), round(h.at(.5)), round(h.at(.99)), ratio, len(h.took), h.refused)
		if ratio > 3 {
			broken = append(broken, fmt.Sprintf("the p99 of %s is %.1f times that of a quiet server", q.name, ratio))
		}
		if h.refused > 0 {
			broken = append(broken, fmt.Sprintf("%d of %d %s are refused (%s)", h.refused, len(h.took), q.name, h.why))
		}
	}
	fmt.Printf("\nwatchers: %d of %d are open, %d changes sent\n", hostile.watching, watchers, hostile.notified)
	if hostile.watching < watchers {
		broken = append(broken, fmt.Sprintf("%d honest watchers were ended (%s)", watchers-hostile.watching, hostile.watchWhy))
	}
	fmt.Printf("the server's cores: %.2f quiet, %.2f beside strangers\n", quiet.cores, hostile.cores)
	fmt.Printf("memory: %d MiB before, %d MiB at most\n\n", before>>20, most>>20)
	if most-before > 200<<20 {
		broken = append(broken, fmt.Sprintf("memory grew by %d MiB", (most-before)>>20))
	}
	if alive != nil {
		broken = append(broken, "operators are not answered: "+alive.Error())
	}
	fmt.Print(report)
	if len(broken) > 0 {
		return errors.New(strings.Join(broken, "; "))
	}
	return nil
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// A crowd is the process that plays the strangers. It yields to the honest callers, whose time is measured on the same core.
type crowd struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out strings.Builder
}

func invite(addr string) (*crowd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &crowd{cmd: exec.Command("chrt", "-o", "0", "nice", "-n", "19", self, "-strangers", addr, "-only", *only)}
	c.cmd.Stdout, c.cmd.Stderr = &c.out, os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return c, c.cmd.Start()
}

// leave ends the strangers and returns their report. It may be called again.
func (c *crowd) leave() string {
	if c.in != nil {
		_ = c.in.Close()
		_ = c.cmd.Wait()
		c.in = nil
	}
	return c.out.String()
}

// A process is the server.
type process struct {
	cmd         *exec.Cmd
	addr, admin string
	done        chan struct{}
	err         error
}

func launch(ctx context.Context, dir string) (*process, error) {
	p := &process{done: make(chan struct{})}
	for _, address := range []*string{&p.addr, &p.admin} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*address = l.Addr().String()
		_ = l.Close()
	}
	args := []string{*program, "serve", "--listen", p.addr, "--admin", p.admin, "--data", filepath.Join(dir, "data")}
	if *profiled {
		args = append(args, "--profiling")
		fmt.Printf("http://%s/debug/pprof/\n", p.admin)
	}
	if runtime.NumCPU() > 1 {
		args = append([]string{"taskset", "-c", "0"}, args...)
	}
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), "LEANCLOUD_APP_ID="+appID, "LEANCLOUD_APP_KEY="+appKey, "LEANCLOUD_APP_MASTER_KEY="+masterKey,
		"LEANCLOUD_APP_HOOK_KEY="+hookKey, "ROLLCALL_LOG_LEVEL=warn")
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	for range 400 {
		if err := p.ended(); err != nil {
			return nil, err
		}
		if answers("http://"+p.admin+"/readyz") == nil {
			return p, nil
		}
		wait(ctx, 50*time.Millisecond)
	}
	p.stop()
	return nil, errors.New("the server is not ready after 20 s")
}

func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("the server ended: %w", p.err)
	default:
		return nil
	}
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// memory is what the server has resident.
func (p *process) memory() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// cpu is the time on a core that the server has used.
func (p *process) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond // ticks, of which Linux has a hundred in a second
}

func answers(url string) error {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}
