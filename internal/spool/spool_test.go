package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"rollcall/internal/spool"
)

// head is what a file begins with, before the first record.
const head = 16

func open(t testing.TB, dir string, limit int64) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func records(from, to int) [][]byte {
	var list [][]byte
	for i := from; i < to; i++ {
		list = append(list, fmt.Appendf(nil, "record %d", i))
	}
	return list
}

func TestRecordsComeBackInOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	for i := 0; i < 100; i += 10 {
		if err := s.Append(records(i, i+10)); err != nil {
			t.Fatal(err)
		}
	}
	got, _, ends, err := s.Peek(0, 30)
	if err != nil || len(got) != 30 || string(got[29]) != "record 29" {
		t.Fatalf("peek: %d records, last %q, %v", len(got), got[len(got)-1], err)
	}
	if some, from, _, err := s.Peek(ends[9], 5); err != nil || len(some) != 5 || string(some[0]) != "record 10" || from != ends[9] {
		t.Fatalf("peek after the tenth: %q from %d, %v", some, from, err)
	}
	if moved, err := s.Advance(30, ends[29]); err != nil || moved != 0 {
		t.Fatal(err)
	}
	_ = s.Close()
	s = open(t, dir, 1<<20)
	if s.Len() != 70 || s.Lost() != 0 {
		t.Fatalf("after a restart %d records wait and %d bytes were lost, want 70 and none", s.Len(), s.Lost())
	}
	got, _, ends, err = s.Peek(0, 1000)
	if err != nil || len(got) != 70 || string(got[0]) != "record 30" {
		t.Fatalf("peek: %d records, first %q, %v", len(got), got[0], err)
	}
	if moved, err := s.Advance(70, ends[69]); err != nil || moved == 0 {
		t.Fatal(err)
	}
	if size, _ := s.Size(); size != head || s.Len() != 0 {
		t.Errorf("an empty spool has %d bytes and %d records", size, s.Len())
	}
}

func TestFullIsSaidAndKeepsNothing(t *testing.T) {
	s := open(t, t.TempDir(), 1000)
	n := 0
	for ; ; n++ {
		if err := s.Append(records(n, n+1)); errors.Is(err, spool.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if s.Len() != n || n < 10 {
		t.Errorf("%d records wait, want %d", s.Len(), n)
	}
	if size, limit := s.Size(); size > limit {
		t.Errorf("%d bytes, the limit is %d", size, limit)
	}
}

// TestTornEnd cuts the file at every length: what is whole comes back, and nothing else does.
func TestTornEnd(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	if err := s.Append(records(0, 5)); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	whole, err := os.ReadFile(filepath.Join(dir, "spool.log"))
	if err != nil {
		t.Fatal(err)
	}
	each := (len(whole) - head) / 5
	for cut := range len(whole) + 1 {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "spool.log"), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, 1<<20)
		left := max(cut-head, 0) // cut within its head it is as good as not made
		if s.Len() != left/each || s.Lost() != int64(left%each) {
			t.Fatalf("cut at %d: %d records, %d bytes lost; want %d and %d", cut, s.Len(), s.Lost(), left/each, left%each)
		}
		if err := s.Append(records(9, 10)); err != nil {
			t.Fatal(err)
		}
		got, _, _, err := s.Peek(0, 10)
		if err != nil || string(got[len(got)-1]) != "record 9" {
			t.Fatalf("cut at %d: after one more: %q, %v", cut, got, err)
		}
		_ = s.Close()
	}
}

// How far an emptied file was delivered says nothing of the next one, though a crash may leave it behind and its offset be
// where a record begins.
func TestTheHeadOfAnEarlierFileSkipsNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	if err := s.Append(records(10, 15)); err != nil {
		t.Fatal(err)
	}
	_, _, ends, err := s.Peek(0, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Advance(3, ends[2]); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(filepath.Join(dir, "spool.head"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ends, err = s.Peek(0, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Advance(2, ends[1]); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(records(20, 25)); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if err := os.WriteFile(filepath.Join(dir, "spool.head"), old, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, 1<<20)
	got, _, _, err := s.Peek(0, 10)
	if err != nil || len(got) != 5 || string(got[0]) != "record 20" {
		t.Errorf("%q, %v; want all five of the later file", got, err)
	}
}

// A spool that is never empty makes room as it is delivered, loses nothing of it and keeps the order, over restarts too.
func TestASpoolThatIsNeverEmptyDoesNotFillUp(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 4000)
	delivered, added := 0, 0
	for round := range 500 {
		if err := s.Append(records(added, added+10)); err != nil {
			t.Fatalf("round %d, %d wait: %v", round, s.Len(), err)
		}
		added += 10
		got, _, ends, err := s.Peek(0, s.Len()-5)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range got {
			if want := fmt.Sprintf("record %d", delivered+i); string(r) != want {
				t.Fatalf("round %d: %q, want %q", round, r, want)
			}
		}
		last := ends[len(got)-1]
		moved, err := s.Advance(len(got), last)
		if err != nil {
			t.Fatal(err)
		}
		delivered += len(got)
		if next, _, _, err := s.Peek(last-moved, 1); err != nil || string(next[0]) != fmt.Sprintf("record %d", delivered) {
			t.Fatalf("round %d: %q follows, %v; want record %d", round, next, err, delivered)
		}
		if round%50 == 0 {
			_ = s.Close()
			// As a crash in the middle of it leaves it.
			if err := os.WriteFile(filepath.Join(dir, "spool.log.new"), []byte("rcspo"), 0o600); err != nil {
				t.Fatal(err)
			}
			if s = open(t, dir, 4000); s.Len() != added-delivered || s.Lost() != 0 {
				t.Fatalf("round %d: %d wait after a restart, want %d", round, s.Len(), added-delivered)
			}
		}
	}
}

func TestAnotherFileIsNotTakenForASpool(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "spool.log"), []byte("SQLite format 3 and what follows"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := spool.Open(dir, 1<<20); err == nil {
		t.Error("opened")
	}
}

func TestManyWriters(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 20 {
				if err := s.Append(records(w*100+i, w*100+i+1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, _, _, err := s.Peek(0, 1000)
	if err != nil || len(got) != 320 {
		t.Fatalf("%d records, %v; want 320", len(got), err)
	}
	seen := map[string]bool{}
	for _, r := range got {
		seen[string(r)] = true
	}
	if len(seen) != 320 {
		t.Errorf("%d different records, want 320", len(seen))
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00a"), []byte{})
	f.Add([]byte{}, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte("!another file"), []byte{})
	f.Fuzz(func(t *testing.T, log, head []byte) {
		dir := t.TempDir()
		if !bytes.HasPrefix(log, []byte("!")) { // else it has not even the mark
			log = append([]byte("rcspool1\x00\x00\x00\x00\x00\x00\x00\x00"), log...)
			head = append(make([]byte, 8), head...)
		}
		_ = os.WriteFile(filepath.Join(dir, "spool.log"), log, 0o600)
		_ = os.WriteFile(filepath.Join(dir, "spool.head"), head, 0o600)
		s, err := spool.Open(dir, 1<<20)
		if err != nil {
			return
		}
		defer s.Close()
		before := s.Len()
		if err := s.Append([][]byte{[]byte("after")}); err != nil {
			t.Fatal(err)
		}
		got, _, _, err := s.Peek(0, 1<<20)
		if err != nil || len(got) != before+1 || string(got[before]) != "after" {
			t.Errorf("%d records before, then %q, %v", before, got, err)
		}
	})
}
