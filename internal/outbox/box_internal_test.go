package outbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rollcall/internal/spool"
)

// A note is an event: "key/text".
type note string

// A desk is a door that keeps what it is given.
type desk struct {
	unkept error
	ready  func(*note) bool
	send   func(*Turn, []*note) bool
}

func (d *desk) Key(n *note) string             { key, _, _ := strings.Cut(string(*n), "/"); return key }
func (d *desk) Encode(n *note) ([]byte, error) { return []byte(*n), nil }
func (d *desk) Ready(n *note) bool             { return d.ready == nil || d.ready(n) }
func (d *desk) Done(_ []*note, remove func())  { remove() }
func (d *desk) Unkept(err error)               { d.unkept = err }

func (d *desk) Send(t *Turn, batch []*note) bool { return d.send(t, batch) }

func notes(texts ...string) []*note {
	list := make([]*note, len(texts))
	for i := range texts {
		n := note(texts[i])
		list[i] = &n
	}
	return list
}

// reopened returns what waits in the journal of dir.
func reopened(t *testing.T, dir string) (*spool.Spool, []Kept[note], []string) {
	t.Helper()
	q, err := spool.Open(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	found, unknown, err := Waiting(q, func(b []byte) (*note, bool) { n := note(b); return &n, b[0] != '?' })
	if err != nil || unknown != 0 {
		t.Fatal(unknown, err)
	}
	var texts []string
	for _, k := range found {
		texts = append(texts, string(*k.Event))
	}
	return q, found, texts
}

// TestWhatCannotBeWrittenIsWrittenWithTheNext, but for what was over meanwhile; and nothing is
// struck out before what came with it is kept.
func TestWhatCannotBeWrittenIsWrittenWithTheNext(t *testing.T) {
	dir := t.TempDir()
	whole, _, _ := reopened(t, dir)
	d := &desk{}
	b := Open[string, note](Config{Parallel: 1}, d, whole, nil)
	b.Add(notes("a/ann")...)
	b.keep()
	broken, _, _ := reopened(t, t.TempDir())
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	b.journal = broken
	b.Drop("a")
	b.Add(notes("b/bob", "c/cat")...)
	b.keep()
	if !errors.Is(d.unkept, spool.ErrClosed) || len(b.fresh) != 2 || len(b.struck) != 1 {
		t.Fatalf("the write did not fail: %v; %d are fresh, %d to be struck out", d.unkept, len(b.fresh), len(b.struck))
	}
	b.journal = whole
	b.Drop("b")
	b.Add(notes("d/dan")...)
	b.keep()
	if err := whole.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, texts := reopened(t, dir); !slices.Equal(texts, []string{"c/cat", "d/dan"}) {
		t.Errorf("%q wait, want cat and dan", texts)
	}
}

// TestBatchesKeepTheOrderOfTheirKey: whatever fails, is dropped, or is killed and opened again, a
// key's events are sent in order, each at least once but for those dropped, and no batch is longer
// than it may be.
func TestBatchesKeepTheOrderOfTheirKey(t *testing.T) {
	const keys, each, most = 5, 400, 7
	dir := t.TempDir()
	sent := map[string][]int{}
	turns := make(chan struct{}, 1)
	calls := 0
	d := &desk{send: func(turn *Turn, batch []*note) bool {
		return turn.Retry(func() Progress {
			turns <- struct{}{}
			defer func() { <-turns }()
			if calls++; calls%40 == 0 {
				return Again
			}
			if len(batch) > most {
				t.Errorf("a batch of %d", len(batch))
			}
			for _, n := range batch {
				key, text, _ := strings.Cut(string(*n), "/")
				var i int
				if _, err := fmt.Sscan(text, &i); err != nil {
					t.Error(err)
				}
				sent[key] = append(sent[key], i)
			}
			return Over
		})
	}}
	q, found, _ := reopened(t, dir)
	b := Open[string, note](Config{Parallel: 3, Batch: most}, d, q, found)
	b.Start()
	for i := range each {
		for k := range keys {
			b.Add(notes(fmt.Sprintf("%d/%d", k, i))...)
		}
		if i%150 == 149 {
			b.Kill()
			q, found, _ = reopened(t, dir)
			b = Open[string, note](Config{Parallel: 3, Batch: most}, d, q, found)
			b.Start()
			// What was not written yet when the process died comes again.
			for k := range keys {
				for j := range i + 1 {
					if !slices.Contains(sentBy(sent, fmt.Sprint(k), turns), j) && !slices.ContainsFunc(found, func(f Kept[note]) bool { return string(*f.Event) == fmt.Sprintf("%d/%d", k, j) }) {
						b.Add(notes(fmt.Sprintf("%d/%d", k, j))...)
					}
				}
			}
		}
	}
	if err := b.Close(t.Context(), func() bool { return true }); err != nil {
		t.Fatal(err)
	}
	for key, list := range sent {
		last, highest := -1, -1
		for _, i := range list {
			if i > highest+1 {
				t.Fatalf("key %s: %d comes after %d", key, i, last)
			}
			last, highest = i, max(highest, i)
		}
		if highest != each-1 {
			t.Errorf("key %s: the last is %d", key, highest)
		}
	}
}

func sentBy(sent map[string][]int, key string, turns chan struct{}) []int {
	turns <- struct{}{}
	defer func() { <-turns }()
	return slices.Clone(sent[key])
}

// TestADropLeavesACallAlone: the turn of what is being sent shows that it was dropped, and what
// comes after the drop is sent after it.
func TestADropLeavesACallAlone(t *testing.T) {
	under, goOn := make(chan struct{}), make(chan struct{})
	var got []string
	d := &desk{send: func(turn *Turn, batch []*note) bool {
		if string(*batch[0]) == "k/1" {
			close(under)
			<-goOn
			if !turn.Dropped() {
				t.Error("the turn does not know that its events were dropped")
			}
		}
		for _, n := range batch {
			got = append(got, string(*n))
		}
		return true
	}}
	b := Open[string, note](Config{Parallel: 2, Batch: 10}, d, nil, nil)
	b.Start()
	b.Add(notes("k/1")...)
	<-under
	b.Add(notes("k/2", "k/3")...)
	if dropped := b.Drop("k"); len(dropped) != 3 {
		t.Errorf("%d were dropped", len(dropped))
	}
	b.Add(notes("k/4")...)
	if n := b.Waiting(); n != 2 {
		t.Errorf("%d wait, the call under way and what was added since", n)
	}
	close(goOn)
	if err := b.Close(t.Context(), func() bool { return true }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []string{"k/1", "k/4"}) {
		t.Errorf("sent %q", got)
	}
}
