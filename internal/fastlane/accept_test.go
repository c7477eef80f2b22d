package fastlane_test

import (
	"net"
	"syscall"
	"testing"

	"rollcall/internal/fastlane"
)

// failing is a port whose process has no file descriptor left, once.
type failing struct {
	net.Listener
	failed bool
}

func (f *failing) Accept() (net.Conn, error) {
	if !f.failed {
		f.failed = true
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestAnErrorOfAcceptIsReportedAndWaitedOut(t *testing.T) {
	n, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	l := fastlane.Listen(&failing{Listener: n}, fastlane.Config{AcceptFailed: func(err error) { failed <- err }})
	defer l.Close()
	if err := <-failed; err == nil {
		t.Error("no error was reported")
	}
	c, err := net.Dial("tcp", n.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := l.Accept()
	if err != nil {
		t.Fatalf("the next connection: %v", err)
	}
	got.Close()
}
