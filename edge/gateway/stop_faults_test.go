//go:build faults

package gateway_test

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// A process that is stopped for longer than the lease of its sockets ends no session whose
// client was there all the time.
func TestFaultStoppedForLongerThanTheLease(t *testing.T) {
	for _, stop := range []time.Duration{4 * time.Second, 20 * time.Second} {
		t.Run(stop.String(), func(t *testing.T) { stopped(t, stop) })
	}
}

func stopped(t *testing.T, stop time.Duration) {
	p := startProcess(t, "ROLLCALL_GATEWAY_PING=1s", "ROLLCALL_GATEWAY_LEASE=4s")
	s := p.stay(nil, "tom", "jerry")
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(stop)
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := s.ping("tom", "jerry"); strings.Join(got, " ") != "tom jerry" {
		t.Errorf("online are %v after the stop", got)
	}
	time.Sleep(6 * time.Second) // past the next lease
	if got := s.ping("tom", "jerry"); strings.Join(got, " ") != "tom jerry" {
		t.Errorf("online are %v a lease later", got)
	}
	select {
	case l := <-s.lines:
		if l.Event == "disconnect" {
			t.Error("the SDK lost its connection over it")
		}
	default:
	}
}

// A process that has no descriptor left refuses new sockets and keeps those it has.
func TestFaultNoDescriptorsLeft(t *testing.T) {
	p := startProcess(t)
	limit := syscall.Rlimit{Cur: 60, Max: 60}
	if err := prlimit(p.cmd.Process.Pid, &limit); err != nil {
		t.Fatal(err)
	}
	s := p.stay(nil, "tom")
	var open []*raw
	for range 100 {
		r, err := dialRaw(t, p.addr, "", time.Second)
		if err != nil {
			break
		}
		open = append(open, r)
	}
	if len(open) == 0 || len(open) >= 60 {
		t.Fatalf("%d sockets open with 60 descriptors: the fault did not take hold", len(open))
	}
	if got := s.ping("tom"); strings.Join(got, " ") != "tom" {
		t.Errorf("online are %v while no descriptor is left", got)
	}
	for _, r := range open {
		_ = r.conn.Close()
	}
	if got := p.stay(nil, "jerry").ping("tom", "jerry"); strings.Join(got, " ") != "tom jerry" {
		t.Errorf("online are %v when descriptors are free again", got)
	}
}
