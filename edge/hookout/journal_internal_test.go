package hookout

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rollcall/internal/spool"
)

// opened returns the peers of the events that wait in path, and what was logged.
func opened(t *testing.T, path string) (q *spool.Spool, peers []string, logged string) {
	t.Helper()
	var text strings.Builder
	q, waiting, err := openJournal(path, slog.New(slog.NewTextHandler(&text, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	for _, k := range waiting {
		peers = append(peers, string(k.Event.Peer))
	}
	return q, peers, text.String()
}

func writeFile(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

const firstJournal = `+{"seq":1,"app":"a","peer":"ann","online":true,"at":1}
+{"v":1,"seq":2,"app":"a","peer":"bob","session":"s","start":1,"node":"n","cause":2,"at":1}
-1
+{"v":1,"seq":3,"app":"a","peer":"cat","at":1}
+{"v":2,"seq":4,"app":"a","peer":"eve","at":1}
+{"v":2,"seq":5,"app":"a","peer":"fay","at":1,"what":"custom_status"}
-4
+{"v":1,"seq":6,"app":"a","peer":"gil","cause":9,"at":1}
+{"seq":7,"app":"a","peer":"hal"`

// TestAJournalOfTheFirstFormatIsTakenOver: what waits in it, once, also when a crash came between
// two steps; the name of the file stands for a directory then, which release 0.1 refuses to start
// on.
func TestAJournalOfTheFirstFormatIsTakenOver(t *testing.T) {
	for name, prepare := range map[string]func(path string){
		"as it was": func(path string) { writeFile(t, path, []byte(firstJournal)) },
		"renamed":   func(path string) { writeFile(t, path+".v1", []byte(firstJournal)) },
		"half taken over": func(path string) {
			writeFile(t, path+".v1", []byte(firstJournal))
			q, err := spool.Open(path, 0)
			if err != nil {
				t.Fatal(err)
			}
			lines, _ := waitingLines([]byte(firstJournal))
			if _, err := q.Append(lines[:1]); err != nil {
				t.Fatal(err)
			}
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		path := filepath.Join(t.TempDir(), "hooks.journal")
		prepare(path)
		for range 2 {
			q, peers, logged := opened(t, path)
			if !slices.Equal(peers, []string{"bob", "cat"}) {
				t.Errorf("%s: hooks of %q wait, want those of bob and cat", name, peers)
			}
			if !strings.Contains(logged, `msg="hooks wait for a later release" hooks=2`) {
				t.Errorf("%s: logged %q", name, logged)
			}
			_ = q.Close()
		}
		if _, err := os.ReadFile(path); err == nil {
			t.Errorf("%s: an older release could read %s", name, path)
		}
		if _, err := os.Stat(path + ".v1"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the old file stays: %v", name, err)
		}
	}
}

// A loss of power may leave holes in what was not synced. It costs those lines, is logged, and the
// file is kept.
func TestLinesThatCannotBeReadCostNoOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hooks.journal")
	lines := bytes.SplitAfter([]byte(firstJournal), []byte("\n"))
	clear(lines[0][:len(lines[0])-1])
	lines[3][0] = '*'
	spoilt := bytes.Join(lines, nil)
	writeFile(t, path, spoilt)
	_, peers, logged := opened(t, path)
	if !slices.Equal(peers, []string{"bob"}) {
		t.Errorf("hooks of %q wait, want that of bob", peers)
	}
	if !strings.Contains(logged, "lines=2") {
		t.Errorf("logged %q", logged)
	}
	if kept, err := os.ReadFile(path + ".damaged"); err != nil || !bytes.Equal(kept, spoilt) {
		t.Errorf("the damaged file was not kept: %v", err)
	}
}
