package hookout

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A loss of power may leave holes in what was not synced. It costs those lines, says so, and keeps the file.
func TestLinesThatCannotBeReadCostNoOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hooks.journal")
	j, _, err := openJournal(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(5) {
		if err := j.write([]Event{{Seq: seq, App: "a", Peer: "tom"}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.write(nil, []uint64{0}); err != nil {
		t.Fatal(err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n"))
	clear(lines[2][:len(lines[2])-1])
	lines[3][0] = '*'
	spoilt := append(bytes.Join(lines, nil), `+{"seq":9`...) // and a last one cut short, which is no damage
	if err := os.WriteFile(path, spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	j, waiting, err := openJournal(path, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if len(waiting) != 2 || waiting[0].Seq != 1 || waiting[1].Seq != 4 {
		t.Errorf("waiting are %+v, want 1 and 4", waiting)
	}
	if !strings.Contains(said.String(), "lines=2") {
		t.Errorf("said %q", said.String())
	}
	if kept, err := os.ReadFile(path + ".damaged"); err != nil || !bytes.Equal(kept, spoilt) {
		t.Errorf("the damaged file was not kept: %v", err)
	}
	if err := j.close(); err != nil {
		t.Error(err)
	}
	if waiting, bad, err := (&journal{path: path}).read(); len(waiting) != 2 || bad != 0 || err != nil {
		t.Errorf("the new file has %d events and %d bad lines, %v", len(waiting), bad, err)
	}
}

// Part of a write that failed must not spoil what is written after it, nor what it did not write be missing for good.
func TestAJournalThatFailedIsWrittenAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hooks.journal")
	log := slog.New(slog.DiscardHandler)
	j, _, err := openJournal(path, log)
	if err != nil {
		t.Fatal(err)
	}
	s := &Sender{journal: j, log: log, queues: map[peer][]*Event{}}
	add := func(seq uint64) []Event {
		e := Event{Seq: seq, App: "a", Peer: "tom"}
		s.enqueue(&e)
		return []Event{e}
	}
	s.keep(add(1), nil)
	if _, err := j.file.WriteString("+{\"se"); err != nil {
		t.Fatal(err)
	}
	broken := j.file
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	s.keep(add(2), nil)
	if !j.torn {
		t.Fatal("the write did not fail: the fault did not take hold")
	}
	s.keep(add(3), nil)
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	waiting, bad, err := (&journal{path: path}).read()
	if len(waiting) != 3 || bad != 0 || err != nil {
		t.Errorf("the journal has %+v and %d bad lines, %v; want all three", waiting, bad, err)
	}
}

// TestHooksOfALaterReleaseAreKept: lines of a later version, or with a cause that this release does not know, are neither delivered
// nor lost; those of the release before, which wrote no version, are delivered.
func TestHooksOfALaterReleaseAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hooks.journal")
	later := []string{
		`+{"v":2,"seq":7,"app":"a","peer":"tom","at":1,"what":"custom_status"}`,
		`+{"v":1,"seq":8,"app":"a","peer":"tom","cause":9,"at":1}`,
	}
	lines := append([]string{`+{"seq":3,"app":"a","peer":"ann","at":1}`, `+{"v":2,"seq":4,"app":"a","peer":"eve","at":1}`, `-4`}, later...)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var said strings.Builder
		j, waiting, err := openJournal(path, slog.New(slog.NewTextHandler(&said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if len(waiting) != 1 || waiting[0].Peer != "ann" {
			t.Errorf("waiting are %+v, want the hook of ann", waiting)
		}
		if !strings.Contains(said.String(), `msg="hooks wait for a later release" hooks=2`) {
			t.Errorf("the log says %q", said.String())
		}
		if j.top != 8 {
			t.Errorf("numbers go on from %d, want 8", j.top)
		}
		if err := j.rewrite(waiting); err != nil {
			t.Fatal(err)
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(b), strings.Join(later, "\n")+"\n") {
			t.Errorf("the journal holds %q, want the lines of the later release", b)
		}
	}
}
