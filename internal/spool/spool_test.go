package spool_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"rollcall/internal/spool"
)

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
	got, next, err := s.Peek(30)
	if err != nil || len(got) != 30 || string(got[29]) != "record 29" {
		t.Fatalf("peek: %d records, last %q, %v", len(got), got[len(got)-1], err)
	}
	if err := s.Advance(30, next); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	s = open(t, dir, 1<<20)
	if s.Len() != 70 || s.Lost() != 0 {
		t.Fatalf("after a restart %d records wait and %d bytes were lost, want 70 and none", s.Len(), s.Lost())
	}
	got, next, err = s.Peek(1000)
	if err != nil || len(got) != 70 || string(got[0]) != "record 30" {
		t.Fatalf("peek: %d records, first %q, %v", len(got), got[0], err)
	}
	if err := s.Advance(70, next); err != nil {
		t.Fatal(err)
	}
	if size, _ := s.Size(); size != 0 || s.Len() != 0 {
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
	each := len(whole) / 5
	for cut := range len(whole) + 1 {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "spool.log"), whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, dir, 1<<20)
		if s.Len() != cut/each || s.Lost() != int64(cut%each) {
			t.Fatalf("cut at %d: %d records, %d bytes lost; want %d and %d", cut, s.Len(), s.Lost(), cut/each, cut%each)
		}
		if err := s.Append(records(9, 10)); err != nil {
			t.Fatal(err)
		}
		got, _, err := s.Peek(10)
		if err != nil || string(got[len(got)-1]) != "record 9" {
			t.Fatalf("cut at %d: after one more: %q, %v", cut, got, err)
		}
		_ = s.Close()
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
	got, _, err := s.Peek(1000)
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
	f.Fuzz(func(t *testing.T, log, head []byte) {
		dir := t.TempDir()
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
		got, _, err := s.Peek(1 << 20)
		if err != nil || len(got) != before+1 || string(got[before]) != "after" {
			t.Errorf("%d records before, then %q, %v", before, got, err)
		}
	})
}
