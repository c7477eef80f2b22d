package spool_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"rollcall/internal/spool"
)

// fileHead and frameHead are the lengths of what the file and each record begin with.
const (
	fileHead  = 8
	frameHead = 16
)

// open opens a spool whose syncs cost no time.
func open(t testing.TB, dir string, limit int64) *spool.Spool {
	t.Helper()
	s, err := spool.OpenFS(&faultFS{}, dir, limit)
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

func add(t testing.TB, s *spool.Spool, from, to int) []spool.ID {
	t.Helper()
	ids, err := s.Append(records(from, to))
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// waiting returns the records that are not acknowledged.
func waiting(t testing.TB, s *spool.Spool) (texts []string) {
	t.Helper()
	list, err := s.Next(0, s.Len()+1)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != s.Len() {
		t.Errorf("%d records come, and %d wait", len(list), s.Len())
	}
	for _, r := range list {
		texts = append(texts, string(r.Data))
	}
	return texts
}

func TestRecordsComeBackInOrder(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 1<<20)
	var ids []spool.ID
	for i := 0; i < 100; i += 10 {
		ids = append(ids, add(t, s, i, i+10)...)
	}
	if some, err := s.Next(ids[9], 5); err != nil || len(some) != 5 || string(some[0].Data) != "record 10" || some[4].ID != ids[14] {
		t.Fatalf("after the tenth: %v, %v", some, err)
	}
	if err := s.Ack(ids[:30]...); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	s = open(t, dir, 1<<20)
	if got := waiting(t, s); len(got) != 70 || got[0] != "record 30" || s.Lost() != 0 {
		t.Fatalf("after a restart %d records wait from %q on and %d bytes were lost, want 70 and none", len(got), got[0], s.Lost())
	}
	list, err := s.Next(0, 70)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if err := s.Ack(r.ID); err != nil {
			t.Fatal(err)
		}
	}
	if size, _ := s.Size(); size != fileHead || s.Len() != 0 {
		t.Errorf("an empty spool has %d bytes and %d records", size, s.Len())
	}
	if err := s.Ack(list[0].ID, 12345); err != nil {
		t.Errorf("acknowledging what is not there: %v", err)
	}
}

// TestRecordsAreAcknowledgedInAnyOrder plays at random against a list, with restarts.
func TestRecordsAreAcknowledgedInAnyOrder(t *testing.T) {
	for _, limit := range []int64{0, 20_000} {
		rng := rand.New(rand.NewPCG(uint64(limit), 1))
		dir := t.TempDir()
		s := open(t, dir, limit)
		var want []string
		ids, n := map[string]spool.ID{}, 0
		for step := range 3000 {
			switch {
			case rng.IntN(200) == 0:
				_ = s.Close()
				s = open(t, dir, limit)
				list, err := s.Next(0, len(want)+1)
				if err != nil {
					t.Fatal(err)
				}
				clear(ids)
				for _, r := range list {
					ids[string(r.Data)] = r.ID
				}
			case len(want) < 100 && rng.IntN(2) == 0:
				for i, id := range add(t, s, n, n+3) {
					text := fmt.Sprint("record ", n+i)
					ids[text], want = id, append(want, text)
				}
				n += 3
			case len(want) > 0:
				i := rng.IntN(len(want))
				if err := s.Ack(ids[want[i]]); err != nil {
					t.Fatal(err)
				}
				want = slices.Delete(want, i, i+1)
			}
			if got := waiting(t, s); !slices.Equal(got, want) {
				t.Fatalf("step %d: %q wait, want %q", step, got, want)
			}
		}
	}
}

func TestAFullSpoolKeepsNothingOfTheCall(t *testing.T) {
	s := open(t, t.TempDir(), 1000)
	n := 0
	for ; ; n++ {
		if _, err := s.Append(records(n, n+1)); errors.Is(err, spool.ErrFull) {
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
	add(t, s, 0, 5)
	_ = s.Close()
	whole, err := os.ReadFile(filepath.Join(dir, "spool.log"))
	if err != nil {
		t.Fatal(err)
	}
	each := (len(whole) - fileHead) / 5
	for cut := range len(whole) + 1 {
		dir := t.TempDir()
		write(t, dir, "spool.log", whole[:cut])
		s := open(t, dir, 1<<20)
		left := max(cut-fileHead, 0) // cut within its head it is as good as not made
		if s.Len() != left/each || s.Lost() != int64(left%each) {
			t.Fatalf("cut at %d: %d records, %d bytes lost; want %d and %d", cut, s.Len(), s.Lost(), left/each, left%each)
		}
		add(t, s, 9, 10)
		if got := waiting(t, s); got[len(got)-1] != "record 9" {
			t.Fatalf("cut at %d: after one more: %q", cut, got)
		}
		_ = s.Close()
	}
}

func write(t testing.TB, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A spool that is never empty makes room as it is delivered, loses nothing of it and keeps the
// order, over restarts too.
func TestASpoolThatIsNeverEmptyDoesNotFillUp(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, 4000)
	delivered, added := 0, 0
	for round := range 500 {
		add(t, s, added, added+10)
		added += 10
		got, err := s.Next(0, s.Len()-5)
		if err != nil {
			t.Fatal(err)
		}
		var ids []spool.ID
		for i, r := range got {
			if want := fmt.Sprintf("record %d", delivered+i); string(r.Data) != want {
				t.Fatalf("round %d: %q, want %q", round, r.Data, want)
			}
			ids = append(ids, r.ID)
		}
		if err := s.Ack(ids...); err != nil {
			t.Fatal(err)
		}
		delivered += len(got)
		if next, err := s.Next(got[len(got)-1].ID, 1); err != nil || string(next[0].Data) != fmt.Sprintf("record %d", delivered) {
			t.Fatalf("round %d: %v follows, %v; want record %d", round, next, err, delivered)
		}
		if round%50 == 0 {
			_ = s.Close()
			// As a crash in the middle of a replacement leaves it.
			write(t, dir, "spool.log.tmp", []byte("rcspo"))
			if s = open(t, dir, 4000); s.Len() != added-delivered || s.Lost() != 0 {
				t.Fatalf("round %d: %d wait after a restart, want %d", round, s.Len(), added-delivered)
			}
		}
	}
}

func TestManyWriters(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 20 {
				if _, err := s.Append(records(w*100+i, w*100+i+1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := waiting(t, s)
	slices.Sort(got)
	if len(slices.Compact(got)) != 320 {
		t.Errorf("%d different records, want 320", len(got))
	}
}
