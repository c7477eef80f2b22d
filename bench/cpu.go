package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of utime and stime in /proc/PID/stat: 1/100 s on every Linux that Go runs
// on.
const clockTick = 10 * time.Millisecond

// cpuTimes is what a process and its descendants had used at one moment.
type cpuTimes map[int]processTimes

type processTimes struct {
	ticks time.Duration // utime + stime: complete, but in steps of a clock tick
	// By thread, to the nanosecond; nil where the kernel does not report it.
	threads map[int]time.Duration
}

// cpuOf reads the times of a process and of all its descendants under proc, which is /proc but for
// tests.
func cpuOf(proc string, pid int) (cpuTimes, error) {
	all := cpuTimes{}
	return all, all.collect(proc, pid)
}

func (c cpuTimes) collect(proc string, pid int) error {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return fmt.Errorf("read the CPU time of process %d: %w", pid, err)
	}
	p := processTimes{threads: map[int]time.Duration{}}
	if p.ticks, err = parseStat(stat); err != nil {
		return err
	}
	tasks, err := os.ReadDir(filepath.Join(dir, "task"))
	if err != nil {
		return fmt.Errorf("list the threads of process %d: %w", pid, err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join(dir, "task", task.Name())
		if p.threads != nil {
			// An error here means a kernel without schedstat or a thread that ended this moment;
			// ticks serve for both.
			if b, err := os.ReadFile(filepath.Join(dir, "schedstat")); err != nil {
				p.threads = nil
			} else if p.threads[tid], err = parseSchedstat(b); err != nil {
				return err
			}
		}
		// Absent from some kernels: then only the process itself counts.
		children, _ := os.ReadFile(filepath.Join(dir, "children"))
		for _, f := range strings.Fields(string(children)) {
			if child, err := strconv.Atoi(f); err == nil {
				_ = c.collect(proc, child) // it may have ended since
			}
		}
	}
	c[pid] = p
	return nil
}

// since is the CPU time used between an earlier reading and this one.
func (c cpuTimes) since(before cpuTimes) time.Duration {
	var sum time.Duration
	for pid, now := range c {
		sum += now.since(before[pid])
	}
	return sum
}

func (p processTimes) since(before processTimes) time.Duration {
	ticks := p.ticks - before.ticks
	if p.threads == nil || (before.threads == nil && before.ticks != 0) {
		return ticks
	}
	for tid := range maps.Keys(before.threads) {
		if _, ok := p.threads[tid]; !ok {
			return ticks // a thread ended and took its time out of the sum
		}
	}
	var sum time.Duration
	for tid, t := range p.threads {
		sum += t - before.threads[tid]
	}
	return sum
}

// parseStat reads utime and stime out of /proc/PID/stat. The second field is the program's name in
// parentheses, and the name may itself hold spaces and parentheses; counting starts behind the last
// one.
func parseStat(b []byte) (time.Duration, error) {
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	// As numbered in proc(5), less the two fields up to the parenthesis and counting from 0.
	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return 0, fmt.Errorf("CPU times in %.100q", b)
	}
	u, err1 := strconv.ParseUint(string(fields[utime]), 10, 63)
	s, err2 := strconv.ParseUint(string(fields[stime]), 10, 63)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("CPU times in %.100q", b)
	}
	return time.Duration(u+s) * clockTick, nil
}

// parseSchedstat reads the first of three numbers: nanoseconds on a core.
func parseSchedstat(b []byte) (time.Duration, error) {
	fields := bytes.Fields(b)
	if len(fields) != 3 {
		return 0, fmt.Errorf("scheduler statistics %.100q", b)
	}
	ns, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("scheduler statistics %.100q", b)
	}
	return time.Duration(ns), nil
}

// rssOf is the resident memory of one process in bytes.
func rssOf(proc string, pid int) (int64, error) {
	b, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "statm"))
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0, fmt.Errorf("memory in %.100q", b)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("memory in %.100q", b)
	}
	return pages * int64(os.Getpagesize()), nil
}

// A meter reads the CPU time of a server's processes, each by its name.
type meter struct {
	procs  []*child
	before []cpuTimes
}

func startMeter(procs []*child) (*meter, error) {
	m := &meter{procs: procs}
	var err error
	m.before, err = m.readAll()
	return m, err
}

func (m *meter) readAll() ([]cpuTimes, error) {
	all := make([]cpuTimes, len(m.procs))
	for i, p := range m.procs {
		var err error
		if all[i], err = cpuOf("/proc", p.pid()); err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return all, nil
}

// stop is the CPU time since the start by process, and the memory of all of them now, descendants
// included.
func (m *meter) stop() (used map[string]time.Duration, rss int64, err error) {
	after, err := m.readAll()
	if err != nil {
		return nil, 0, err
	}
	used = map[string]time.Duration{}
	for i, p := range m.procs {
		used[p.name] += after[i].since(m.before[i])
		for pid := range after[i] {
			b, err := rssOf("/proc", pid)
			if err != nil {
				return nil, 0, err
			}
			rss += b
		}
	}
	return used, rss, nil
}

// A stolenTime is how long all cores together had work but were lent to other guests by the host,
// and how long they were there at all. On a machine of one's own the first stays zero.
type stolenTime struct{ stolen, all uint64 }

// parseStolen reads the first line of /proc/stat: cpu user nice system idle iowait irq softirq
// steal ….
func parseStolen(b []byte) stolenTime {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	fields := bytes.Fields(line)
	var s stolenTime
	const steal = 8
	for i := 1; i <= steal && i < len(fields); i++ { // what follows is contained in user and nice
		n, _ := strconv.ParseUint(string(fields[i]), 10, 64)
		s.all += n
		if i == steal {
			s.stolen = n
		}
	}
	return s
}

func readStolen() stolenTime {
	b, _ := os.ReadFile("/proc/stat")
	return parseStolen(b)
}

// percentSince is the share of the time since an earlier reading that was stolen.
func (s stolenTime) percentSince(before stolenTime) float64 {
	if s.all <= before.all {
		return 0
	}
	return 100 * float64(s.stolen-before.stolen) / float64(s.all-before.all)
}
