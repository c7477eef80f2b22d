package spool_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"rollcall/internal/disk"
	"rollcall/internal/spool"
)

// firstFile is a file of the first format, and offsets where its records end.
func firstFile(records [][]byte) (b []byte, ends []int) {
	b = append([]byte("rcspool1"), 1, 2, 3, 4, 5, 6, 7, 8)
	for _, r := range records {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(r)))
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(r, crc32.MakeTable(crc32.Castagnoli)))
		b = append(b, r...)
		ends = append(ends, len(b))
	}
	return b, ends
}

// TestFilesOfTheFirstFormatAreTakenOver: with what was delivered of them, cut at any byte, and
// once.
func TestFilesOfTheFirstFormatAreTakenOver(t *testing.T) {
	whole, ends := firstFile(records(0, 5))
	head := binary.LittleEndian.AppendUint64([]byte{1, 2, 3, 4, 5, 6, 7, 8}, uint64(ends[1]))
	stale := binary.LittleEndian.AppendUint64([]byte{9, 2, 3, 4, 5, 6, 7, 8}, uint64(ends[1]))
	for cut := range len(whole) + 1 {
		n := 0
		for _, end := range ends {
			if end <= cut {
				n++
			}
		}
		for name, tt := range map[string]struct {
			head []byte
			skip int
		}{"none": {nil, 0}, "two": {head, 2}, "of another file": {stale, 0}, "torn": {head[:9], 0}} {
			dir := t.TempDir()
			write(t, dir, "spool.log", whole[:cut])
			if tt.head != nil {
				write(t, dir, "spool.head", tt.head)
			}
			var want []string
			for i := tt.skip; i < n; i++ {
				want = append(want, fmt.Sprint("record ", i))
			}
			// The head does not stand before a record: all come again.
			if cut < ends[1] || cut > ends[1] && n == tt.skip {
				want = strings.Split("record 0,record 1", ",")[:n]
			}
			for range 2 {
				s := open(t, dir, 1<<20)
				if got := waiting(t, s); !slices.Equal(got, want) {
					t.Fatalf("cut at %d, delivered %s: %q wait, want %q", cut, name, got, want)
				}
				_ = s.Close()
			}
			if _, err := os.Stat(filepath.Join(dir, "spool.head")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("cut at %d: the head file stays: %v", cut, err)
			}
		}
	}
}

func TestAnotherFileIsNotTakenForASpool(t *testing.T) {
	for text, want := range map[string]string{
		"SQLite format 3 and what follows":  "does not begin",
		"rcspool3 and what is in the file.": `has format "3"`,
	} {
		dir := t.TempDir()
		write(t, dir, "spool.log", []byte(text))
		if _, err := spool.Open(dir, 1<<20); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%q: %v, want %q and the directory", text, err, want)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "spool.log")); err != nil || string(b) != text {
			t.Errorf("the file holds %q, %v after", b, err)
		}
	}
}

var errDisk = errors.New("the disk fails")

// A faultFS fails one call of those that change a disk: the call of a number, and all after it when
// the process dies there.
type faultFS struct {
	disk.OS
	mu        sync.Mutex
	calls, at int
	dies      bool
}

func (f *faultFS) call() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls++; f.calls == f.at || f.dies && f.at > 0 && f.calls > f.at {
		return errDisk
	}
	return nil
}

func (f *faultFS) Create(name string) (disk.File, error) {
	if err := f.call(); err != nil {
		return nil, err
	}
	file, err := f.OS.Create(name)
	return &faultFile{file, f}, err
}

func (f *faultFS) Open(name string) (disk.File, error) {
	file, err := f.OS.Open(name)
	return &faultFile{file, f}, err
}

func (f *faultFS) Rename(from, to string) error {
	if err := f.call(); err != nil {
		return err
	}
	return f.OS.Rename(from, to)
}

func (f *faultFS) Remove(name string) error {
	if err := f.call(); err != nil {
		return err
	}
	return f.OS.Remove(name)
}

func (f *faultFS) SyncDir(string) error { return f.call() }

type faultFile struct {
	disk.File
	fs *faultFS
}

// Sync costs no time: no power is cut here.
func (f *faultFile) Sync() error { return f.fs.call() }

func (f *faultFile) Truncate(size int64) error {
	if err := f.fs.call(); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	if err := f.fs.call(); err != nil {
		n, _ := f.File.WriteAt(b[:len(b)/2], off)
		return n, err
	}
	return f.File.WriteAt(b, off)
}

// TestFaultEveryCallOfTheDiskMayFail: what was appended and not acknowledged is there, what was
// acknowledged is not, and what failed may be tried again, whichever call fails; the same after a
// restart, but for acknowledgements that failed, and when the process ends at that call.
func TestFaultEveryCallOfTheDiskMayFail(t *testing.T) {
	for _, dies := range []bool{false, true} {
		for at, struck := 1, true; struck; at++ {
			fs := &faultFS{at: at, dies: dies}
			play(t, fs, fmt.Sprintf("call %d, dies %v", at, dies))
			struck = fs.calls >= at
			if at > 2000 {
				t.Fatal("the story does not end")
			}
		}
	}
}

func play(t *testing.T, fs *faultFS, what string) {
	t.Helper()
	dir := t.TempDir()
	first, _ := firstFile(records(0, 2))
	write(t, dir, "spool.log", first)
	must := []string{"record 0", "record 1"} // wait for sure
	may := map[string]bool{}                 // whose call failed
	check := func(s *spool.Spool, when string) {
		t.Helper()
		var sure []string
		for _, r := range waiting(t, s) {
			if !may[r] {
				sure = append(sure, r)
			}
		}
		if !slices.Equal(sure, must) {
			t.Fatalf("%s, %s: %q wait, want %q", what, when, sure, must)
		}
	}
	s, err := spool.OpenFS(fs, dir, 700)
	if err == nil {
		for i := 2; i < 30; i++ {
			text := fmt.Sprint("record ", i)
			if _, err := s.Append(records(i, i+1)); err == nil {
				must = append(must, text)
			} else {
				may[text] = true
			}
			if i%3 > 0 && len(must) > 0 {
				list, err := s.Next(0, 100)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				at := slices.IndexFunc(list, func(r spool.Record) bool { return string(r.Data) == must[len(must)/2] })
				err = s.Ack(list[at].ID)
				if text := string(list[at].Data); err == nil || fs.dies {
					must = slices.Delete(must, len(must)/2, len(must)/2+1)
					may[text] = err != nil
				}
			}
			if !fs.dies {
				check(s, "while it runs")
			}
		}
		_ = s.Close()
	}
	for range 2 {
		if s, err = spool.OpenFS(disk.OS{}, dir, 700); err != nil {
			t.Fatalf("%s: open after: %v", what, err)
		}
		check(s, "after a restart")
		if _, err := s.Append(records(99, 100)); err != nil {
			t.Fatalf("%s: append after: %v", what, err)
		}
		must = append(must, "record 99")
		check(s, "after one more")
		_ = s.Close()
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00a"), []byte{})
	f.Add([]byte{}, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte("!another file"), []byte{})
	f.Fuzz(func(t *testing.T, log, head []byte) {
		for _, mark := range []string{"rcspool1\x00\x00\x00\x00\x00\x00\x00\x00", "rcspool2"} {
			dir := t.TempDir()
			if bytes.HasPrefix(log, []byte("!")) {
				mark = "" // it has not even the mark
			}
			_ = os.WriteFile(filepath.Join(dir, "spool.log"), append([]byte(mark), log...), 0o600)
			_ = os.WriteFile(filepath.Join(dir, "spool.head"), append(make([]byte, 8), head...), 0o600)
			s, err := spool.Open(dir, 1<<20)
			if err != nil {
				continue
			}
			before := s.Len()
			if _, err := s.Append([][]byte{[]byte("after")}); err != nil {
				t.Fatal(err)
			}
			if got := waiting(t, s); len(got) != before+1 || got[before] != "after" {
				t.Errorf("%d records before, then %q", before, got)
			}
			_ = s.Close()
		}
	})
}
