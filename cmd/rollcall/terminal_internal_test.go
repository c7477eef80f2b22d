//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rollcall/server/config"
)

// openTerminal returns the two ends of a pseudo terminal.
func openTerminal(t *testing.T) (screen, program *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Close() })
	return screen, program
}

// Output that is no terminal is kept somewhere, such as in the journal: fresh keys are shown on a
// terminal alone.
func TestFreshKeysAreShownOnATerminalAlone(t *testing.T) {
	for _, tt := range []struct {
		name     string
		terminal bool
	}{{"a pipe", false}, {"a terminal", true}} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			var from, to *os.File
			var err error
			if tt.terminal {
				from, to = openTerminal(t)
			} else if from, to, err = os.Pipe(); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan int)
			go func() {
				done <- run(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", dir}, nil, to, os.Stderr)
			}()
			var shown strings.Builder
			for lines := bufio.NewScanner(from); lines.Scan(); {
				shown.WriteString(lines.Text() + "\n")
				if strings.Contains(lines.Text(), "Ctrl-C stops it") {
					break
				}
			}
			stop()
			if code := <-done; code != 0 {
				t.Fatalf("serve ends with %d", code)
			}
			b, err := os.ReadFile(filepath.Join(dir, config.KeysFile))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(b)) {
				name, key, _ := strings.Cut(strings.TrimSpace(line), "=")
				if strings.HasSuffix(name, "_KEY") && strings.Contains(shown.String(), key) != tt.terminal {
					t.Errorf("%s is shown: %v\n%s", name, !tt.terminal, &shown)
				}
			}
			if !strings.Contains(shown.String(), "getOnOffStatus") {
				t.Errorf("no line to paste:\n%s", &shown)
			}
		})
	}
}

func TestOnlyAYesIsAYes(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, " yes": true, "\n": false, "": false, "n\n": false, "yesterday\n": false} {
		if got := confirmed(io.Discard, strings.NewReader(answer), "?"); got != want {
			t.Errorf("%q counts as %v", answer, got)
		}
	}
}
