//go:build linux

package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestAnInstallationThatWasKilled: a process that is killed on its way leaves a version that need
// not be ready, and its settings. Neither is what the next one goes back to, or goes on with.
func TestAnInstallationThatWasKilled(t *testing.T) {
	for _, first := range []bool{false, true} {
		t.Run(fmt.Sprint("first ", first), func(t *testing.T) {
			m := newMachine(t)
			if !first {
				m.must(m.install("one", 3100))
			}
			cutOff := func() {
				plan := Plan{Program: m.script("new", strings.ReplaceAll(aProgram, "NAME", "broken")), Version: "broken", Env: []Variable{{"ROLLCALL_STORE", "nowhere"}}, Port: 3200}
				name, err := m.copyProgram(plan)
				m.must(err)
				before, _, err := m.begin(context.Background())
				m.must(err)
				texts, err := m.wanted(plan)
				m.must(err)
				m.must(m.note(before, texts))
				m.must(m.write(texts, name))
			}
			cutOff()
			if st, err := os.Stat(m.at(unfinished)); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("the note with the keys: %v, %v", st.Mode(), err)
			}
			err := m.install("broken", 0)
			if err == nil {
				t.Fatal("a program that does not start was installed")
			}
			if first {
				if _, err := os.Lstat(m.at(current)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the version that was cut off is in force (%v)", err)
				}
			} else {
				m.runs("one")
			}
			cutOff()
			m.out.Reset()
			m.must(m.install("two", 0))
			m.runs("two")
			if !strings.Contains(m.out.String(), "was cut off") {
				t.Errorf("it says\n%s", &m.out)
			}
			if strings.Contains(m.text(env), "nowhere") {
				t.Error("settings of the version that was cut off are in force")
			}
			if port, _ := m.read(socketPort); strings.Contains(port, "3200") {
				t.Errorf("the socket has %q", port)
			}
			m.out.Reset()
			m.must(m.install("three", 0))
			if strings.Contains(m.out.String(), "was cut off") {
				t.Error("one that ended counts as cut off")
			}
		})
	}
}

// TestWhatIsEditedAfterAKilledInstallationStays: an administrator has mended the settings by hand.
func TestWhatIsEditedAfterAKilledInstallationStays(t *testing.T) {
	m := newMachine(t)
	m.must(m.install("one", 0))
	before, _, err := m.begin(context.Background())
	m.must(err)
	m.must(m.note(before, map[string]string{env: "ROLLCALL_STORE=nowhere\n"}))
	m.must(replace(m.at(env), "ROLLCALL_STORE=\"redis://by-hand\"\n", 0o600))
	if err := m.install("broken", 0); err == nil {
		t.Fatal("a program that does not start was installed")
	}
	m.runs("one")
	m.must(m.install("two", 0))
	if got := m.text(env); !strings.Contains(got, "by-hand") {
		t.Errorf("the environment file is\n%s", got)
	}
}

// TestANoteThatCannotBeRead: nothing is written over what it stands for.
func TestANoteThatCannotBeRead(t *testing.T) {
	m := newMachine(t)
	m.must(m.install("one", 0))
	for _, text := range []string{"{", "{}"} {
		m.must(replace(m.at(unfinished), text, 0o600))
		if err := m.install("two", 0); err == nil || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%q: %v", text, err)
		}
	}
	m.runs("one")
}
