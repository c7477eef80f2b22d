// Command soak plays honest load beside everything that a stranger may try, all of it at once and
// all of it on loopback, and holds the server to three promises: the p99 of honest calls stays
// within three times that of a quiet server, its memory grows by 200 MiB at most, and nothing
// honest is refused.
//
//	go run ./soak           30 s quiet, 3 minutes beside the strangers
//	go run ./soak -quick    3 s and 10 s: for CI; the figures say little
//	go run ./soak -apart    on a machine that has other work: it goes before that
//
// The server has one core, the load another. Honest callers come from 127.0.0.1, strangers from
// other loopback addresses, each with a share of what there is to do. Honest callers have real-time
// priority where that is permitted, so that their figures are the server's; how late they ran
// themselves is printed, and how long the server waited for its core. It ends with 0 when the
// promises hold, 1 when not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
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
	apart      = flag.Bool("apart", false, "give the server and its load precedence over other programs of this machine, as if it had none")
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
	if err := build(ctx, dir); err != nil {
		return err
	}
	if *apart {
		goBefore()
	}
	srv, err := launch(ctx, dir)
	if err != nil {
		return err
	}
	defer srv.stop()
	if err := keepOff(); err != nil {
		return err
	}
	good := newHonest(srv.addr)
	if err := good.start(ctx); err != nil {
		return err
	}
	defer good.stop()
	wait(ctx, 2*time.Second) // connections and caches
	good.reset()
	fmt.Printf("quiet for %v\n", *quietFor)
	cpu, waited := srv.cpu(), srv.waited()
	wait(ctx, *quietFor)
	quiet := good.reset()
	quiet.cores, quiet.waited = (srv.cpu()-cpu).Seconds()/quietFor.Seconds(), (srv.waited()-waited).Seconds()/quietFor.Seconds()
	cpu, waited = srv.cpu(), srv.waited()
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
	hostile.cores, hostile.waited = (srv.cpu()-cpu).Seconds()/hostileFor.Seconds(), (srv.waited()-waited).Seconds()/hostileFor.Seconds()
	alive := answers("http://" + srv.admin + "/livez")
	report := bad.leave()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return verdict(quiet, hostile, before, most, report, alive)
}

// goBefore has the scheduler prefer this process and those it starts to all other programs of the
// machine. Among themselves they are as they were.
func goBefore() {
	// Linux weighs sessions against each other before it looks at the processes in them.
	_, _ = syscall.Setsid()
	if err := os.WriteFile("/proc/self/autogroup", []byte("-20"), 0); err != nil {
		fmt.Println("other programs of this machine are not kept behind:", err)
	}
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
	fmt.Printf("\nhonest callers ran late themselves: p99 %v quiet, %v beside strangers\n", round(quiet.late.at(.99)), round(hostile.late.at(.99)))
	fmt.Printf("worst call of each second beside strangers, in ms:")
	for _, d := range hostile.worst {
		fmt.Printf(" %d", d.Milliseconds())
	}
	fmt.Printf("\n\nwatchers: %d of %d are open, %d changes sent\n", hostile.watching, watchers, hostile.notified)
	if hostile.watching < watchers {
		broken = append(broken, fmt.Sprintf("%d honest watchers were ended (%s)", watchers-hostile.watching, hostile.watchWhy))
	}
	fmt.Printf("the server's cores: %.2f quiet, %.2f beside strangers; its threads waited for it %.2f and %.2f of the time\n", quiet.cores, hostile.cores, quiet.waited, hostile.waited)
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

// A crowd is the process that plays the strangers. It yields to the honest callers, whose time is
// measured on the same core.
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
	nice := "19"
	if *apart {
		// The least of a session that goes before others would still leave it next to nothing.
		nice = "0"
	}
	c := &crowd{cmd: exec.Command("chrt", "-o", "0", "nice", "-n", nice, self, "-strangers", addr, "-only", *only)}
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

// build makes the rollcall to try in dir, unless there is one.
func build(ctx context.Context, dir string) error {
	if *program != "" {
		return nil
	}
	*program = filepath.Join(dir, "rollcall")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", *program, "./cmd/rollcall")
	build.Dir, build.Stderr = "..", os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build rollcall (run this in bench/): %w", err)
	}
	return nil
}

// keepOff keeps the load off the server's core, and gives it priority where that is permitted.
func keepOff() error {
	pid := strconv.Itoa(os.Getpid())
	if runtime.NumCPU() > 1 {
		if err := exec.Command("taskset", "-a", "-p", "-c", fmt.Sprintf("1-%d", runtime.NumCPU()-1), pid).Run(); err != nil {
			return fmt.Errorf("taskset: %w", err)
		}
	}
	if err := exec.Command("chrt", "-a", "-r", "-p", "1", pid).Run(); err != nil {
		fmt.Println("the honest callers have no priority:", err)
	}
	return nil
}
