//go:build linux

package nonblock_test

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"rollcall/internal/nonblock"
)

// A socket takes what it has room for, then nothing, then the rest; and the write behind a reader
// that is gone fails.
func TestWrite(t *testing.T) {
	// They block, unless a write says otherwise.
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(pair[0]) }()
	ours := uintptr(pair[0])
	if n, err := nonblock.Write(ours, nil); n != 0 || err != nil {
		t.Errorf("nothing: %d, %v", n, err)
	}
	chunk := make([]byte, 16<<10)
	sent := 0
	for {
		n, err := nonblock.Write(ours, chunk)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		sent += n
	}
	if sent < len(chunk) {
		t.Fatalf("the socket took %d bytes in all", sent)
	}
	got := 0
	for buf := make([]byte, 64<<10); got < sent; {
		n, err := unix.Read(pair[1], buf)
		if err != nil {
			t.Fatal(err)
		}
		got += n
	}
	if n, err := nonblock.Write(ours, chunk); n != len(chunk) || err != nil {
		t.Errorf("into an empty socket: %d, %v", n, err)
	}
	if err := unix.Close(pair[1]); err != nil {
		t.Fatal(err)
	}
	if n, err := nonblock.Write(ours, chunk); n != 0 || !errors.Is(err, unix.EPIPE) {
		t.Errorf("behind a reader that is gone: %d, %v", n, err)
	}
}
