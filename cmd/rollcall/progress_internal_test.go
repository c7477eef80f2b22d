//go:build linux

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"testing/synctest"
)

// Progress is for people: a file that gets standard error has sentences only.
func TestProgressIsShownOnATerminalAlone(t *testing.T) {
	screen, program := openTerminal(t)
	p := newProgress(&env{ctx: t.Context(), stderr: program}, "export", 10)
	p.at(5)
	p.at(20) // more than were counted
	if took := p.done(); took == "" {
		t.Error("no time is given")
	}
	buf := make([]byte, 4096)
	n, err := screen.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if shown := string(buf[:n]); !strings.Contains(shown, "export") {
		t.Errorf("the terminal shows %q", shown)
	}

	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p = newProgress(&env{ctx: t.Context(), stderr: f}, "export", 10)
	p.at(5)
	p.done()
	if b, err := os.ReadFile(f.Name()); err != nil || len(b) > 0 {
		t.Errorf("a file gets %q, %v", b, err)
	}
	p = newProgress(&env{ctx: t.Context(), stderr: &bytes.Buffer{}}, "export", 0)
	p.at(1)
	p.done()
}

// A question may follow on the line: nothing is drawn over it once the progress is done, also where
// the number of steps is not known.
func TestNoProgressIsShownOnceItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, program := openTerminal(t)
		p := newProgress(&env{ctx: t.Context(), stderr: program}, "people", 0)
		p.at(1)
		p.done()
		// A goroutine that still draws is found here: it would not end.
	})
}

// States do not scroll over a terminal; a file that gets them is its owner's alone.
func TestStatesGoToAFileOfTheOwner(t *testing.T) {
	_, program := openTerminal(t)
	var said bytes.Buffer
	if err := private(&env{stdout: program, stderr: &said}, "export"); err != errMisused || !strings.Contains(said.String(), "rollcall export > FILE") {
		t.Errorf("a terminal: %v, %q", err, said.String())
	}
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Chmod(0o644); err != nil {
		t.Fatal(err)
	}
	if err := private(&env{stdout: f}, "export"); err != nil {
		t.Fatal(err)
	}
	if st, err := f.Stat(); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("a file: %v, %v", st.Mode(), err)
	}
}
