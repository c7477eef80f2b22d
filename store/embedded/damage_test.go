package embedded_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rollcall/internal/disk"
	"rollcall/presence"
	"rollcall/store/embedded"
)

func TestFaultTheTailMayBeCutAtEveryByte(t *testing.T) {
	im, ends := smallLog(t)
	whole := im[logOne]
	dir := filepath.Join(t.TempDir(), "store")
	for n := 0; n <= ends[len(ends)-1].size; n += stride {
		for _, zeros := range []bool{false, true} {
			cut := bytes.Clone(whole[:n])
			if zeros { // what was reserved and never written
				cut = append(cut, make([]byte, len(whole)-n)...)
			}
			s, err := openImage(t, image{logOne: cut}, dir)
			if n < 36 || n < 40 && !zeros {
				var d *embedded.DamageError
				if !errors.As(err, &d) {
					t.Fatalf("cut at %d, within the header: %v, want damage", n, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("cut at %d (zeros: %t): %v", n, zeros, err)
			}
			// Sizes are of what is not zero, so a frame that ends in zeros is whole a little later.
			whole, torn := ends[0], n > 40
			for _, e := range ends {
				if e.size <= n {
					whole = e
				}
			}
			st := s.Stats()
			if diff := whole.differs(t, s); diff != "" {
				if next := nextEnd(ends, whole); next.differs(t, s) != "" {
					t.Errorf("cut at %d (zeros: %t): %s", n, zeros, diff)
				}
			}
			if st.TornTails > 0 != (st.TornBytes > 0) || st.TornTails > 0 && !torn {
				t.Errorf("cut at %d: %d torn tails of %d bytes", n, st.TornTails, st.TornBytes)
			}
			if st.TornTails == 0 && n > whole.size+8 {
				t.Errorf("cut at %d, %d bytes into a frame, and no torn tail was counted", n, n-whole.size)
			}
			if err := newWitness(t, s).report(presence.KindOnline, "next"); err != nil {
				t.Errorf("cut at %d: report: %v", n, err)
			}
			s.Close()
		}
	}
}

func TestFaultEveryByteMayFlip(t *testing.T) {
	im, ends := smallLog(t)
	last, before := ends[len(ends)-1], ends[len(ends)-2]
	dir := filepath.Join(t.TempDir(), "store")
	for at := 0; at < last.size+30; at += stride {
		for _, bits := range []byte{0x01, 0x80} {
			bad := bytes.Clone(im[logOne])
			bad[at] ^= bits
			s, err := openImage(t, image{logOne: bad}, dir)
			where := fmt.Sprintf("byte %d flipped by %02x", at, bits)
			if err != nil {
				var d *embedded.DamageError
				if !errors.As(err, &d) || filepath.Base(d.File) != logOne || d.Offset > int64(at) {
					t.Errorf("%s: %v, want damage of the log at or before it", where, err)
				}
				if at >= before.size+8 {
					t.Errorf("%s: %v; it can only be a torn tail", where, err)
				}
				continue
			}
			st := s.Stats()
			switch {
			case at < before.size:
				t.Errorf("%s: it opens as if nothing were", where)
			case st.TornTails != 1:
				t.Errorf("%s: it opens and counts %d torn tails", where, st.TornTails)
			case at < last.size && before.differs(t, s) != "":
				t.Errorf("%s: %s", where, before.differs(t, s))
			case at >= last.size && last.differs(t, s) != "" && before.differs(t, s) != "":
				t.Errorf("%s: %s", where, last.differs(t, s))
			}
			s.Close()
		}
	}
}

func TestFaultEveryByteOfSnapshotAndManifestMayFlip(t *testing.T) {
	im, all := withSnapshot(t)
	dir := filepath.Join(t.TempDir(), "store")
	last := "log-0000000003.seg"
	if s, err := openImage(t, im, dir); err != nil || all.differs(t, s) != "" {
		t.Fatalf("the sound image: %v", err)
	} else {
		s.Close()
	}
	for name, whole := range im {
		if name == last {
			continue // its last frame may be torn: that is another test
		}
		for at := 0; at < len(whole); at += stride {
			bad := image{}
			for n, b := range im {
				bad[n] = b
			}
			bad[name] = bytes.Clone(whole)
			bad[name][at] ^= 0x10
			s, err := openImage(t, bad, dir)
			if err == nil {
				t.Errorf("%s, byte %d flipped: it opens as if nothing were", name, at)
				s.Close()
				continue
			}
			var d *embedded.DamageError
			if !errors.As(err, &d) {
				t.Errorf("%s, byte %d flipped: %v, want damage", name, at, err)
			}
		}
	}
}

// Release 0.1 removes a newest segment without a frame before it refuses a log that is newer than
// itself: nothing is lost with it, and the release that wrote the log starts again.
func TestAnEmptyNewestSegmentMayGo(t *testing.T) {
	cfg := embedded.Setup{Config: embedded.Config{SegmentSize: 4 << 10}, Deps: embedded.Deps{Path: filepath.Join(t.TempDir(), "store"), Log: discard}}
	newest := func() string {
		all, err := filepath.Glob(filepath.Join(cfg.Path, "log-*.seg"))
		if err != nil || len(all) == 0 {
			t.Fatal(all, err)
		}
		return slices.Max(all)
	}
	open := func() *embedded.Store {
		t.Helper()
		s, err := cfg.Open(start)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	newWitness(t, s).report(presence.KindOnline, "tom")
	full := newest()
	s.Close()
	for _, end := range []string{"stopped", "killed"} {
		s := open()
		tip, err := os.ReadFile(filepath.Join(cfg.Path, "tip"))
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		if end == "killed" { // what a stop writes is not there
			if err := os.WriteFile(filepath.Join(cfg.Path, "tip"), tip, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if newest() == full {
			t.Fatal("the start has begun no segment")
		}
		if err := os.Remove(newest()); err != nil {
			t.Fatal(err)
		}
		open().Close()
	}
	s = open()
	newWitness(t, s).report(presence.KindOnline, "ann")
	s.Close()
	if err := os.Remove(newest()); err != nil {
		t.Fatal(err)
	}
	if s, err := cfg.Open(start); err == nil {
		s.Close()
		t.Error("a segment with a report is missing, and the store opens as if nothing were")
	}
}

func TestWhatElseMayHappenToFiles(t *testing.T) {
	im, all := withSnapshot(t)
	const (
		section = "snap-0000000001-0000.sec"
		two     = "log-0000000002.seg"
		three   = "log-0000000003.seg"
	)
	tests := []struct {
		name  string
		spoil func(im image)   // before it is written
		place func(dir string) // after
		want  string           // in the error; empty: it opens and lacks nothing
	}{
		{"nothing", nil, nil, ""},
		{"a missing segment", func(im image) { delete(im, two) }, nil, two + " is damaged at offset 0: it is missing"},
		{"a missing newest segment", func(im image) { delete(im, three) }, nil, three + " is damaged at offset 0: it is missing"},
		{"no segment at all", func(im image) { delete(im, two); delete(im, three) }, nil, three + " is damaged at offset 0: it is missing"},
		{"no segment that the manifest knows, of a store without a tip", func(im image) {
			delete(im, two)
			delete(im, three)
			delete(im, "tip")
		}, nil, two + " is damaged at offset 0: it is missing"},
		{"only segments older than the manifest", func(im image) {
			delete(im, two)
			delete(im, three)
			im["log-0000000001.seg"] = []byte("from an old copy")
		}, nil, three + " is damaged at offset 0: it is missing"},
		{"an older copy of the newest segment", func(im image) { im[three] = im[three][:40] }, nil, "a file is older than the others"},
		{"a newest segment without its last frame", func(im image) {
			b := im[three]
			im[three] = b[:40+16+int(binary.LittleEndian.Uint32(b[40:]))]
		}, nil, "a file is older than the others"},
		{"no tip, as release 0.1 leaves it", func(im image) { delete(im, "tip") }, nil, ""},
		{"an empty segment", func(im image) { im[two] = nil }, nil, "cut short within its header"},
		{"a segment of zeros", func(im image) { im[two] = make([]byte, 4096) }, nil, "does not start as our files do"},
		{"a segment in the place of another", func(im image) { im[three] = im[two] }, nil, "it is log segment 2, and should be log segment 3"},
		{"a segment twice", func(im image) { im["log-0000000004.seg"] = im[three] }, nil, "it is log segment 3, and should be log segment 4"},
		{"a missing manifest", func(im image) { delete(im, "manifest") }, nil, "manifest is damaged at offset 0: it is missing"},
		{"an empty manifest", func(im image) { im["manifest"] = nil }, nil, "manifest is damaged at offset 0"},
		{"a missing section", func(im image) { delete(im, section) }, nil, section + " is damaged at offset 0: it is missing"},
		{"an empty section", func(im image) { im[section] = nil }, nil, "cut short within its header"},
		{"a section cut short", func(im image) { im[section] = im[section][:len(im[section])-3] }, nil, "the manifest says"},
		{"a section that goes on", func(im image) { im[section] = append(bytes.Clone(im[section]), 0) }, nil, "the manifest says"},
		{"a manifest that goes on", func(im image) { im["manifest"] = append(bytes.Clone(im["manifest"]), 0) }, nil, "something follows"},
		{"a torn segment before the last", func(im image) { im[two] = im[two][:len(im[two])-3] }, nil, "the checksum of a frame does not match"},
		{"a frame cut off before the last segment", func(im image) { im[two] = im[two][:40] }, nil, "it begins with frame 4, and frame 2 is due"},
		{"a newer log", func(im image) { im[three] = newer(im[three]) }, nil, "has format 2; this program reads up to 1"},
		{"a newer manifest", func(im image) { im["manifest"] = newer(im["manifest"]) }, nil, "has format 2; this program reads up to 1"},
		{"another program's file", func(im image) { im[three] = []byte(strings.Repeat("SQLite format 3\x00", 40)) }, nil, "does not start as our files do"},
		{"leftovers of an interrupted snapshot", func(im image) {
			im["snap-0000000002-0000.sec"] = im[section][:50]
			im["manifest.tmp"] = im["manifest"][:20]
			im["spare.seg"] = make([]byte, 100)
			im["log-0000000001.seg"] = []byte("was to be removed")
		}, nil, ""},
		{"a segment that was begun and never written to", func(im image) {
			head := bytes.Clone(im[three][:40])
			head[12] = 4
			sum(head)
			im["log-0000000004.seg"] = append(head, make([]byte, 4000)...)
		}, nil, ""},
		{"a segment replaced by a symbolic link", nil, func(dir string) {
			os.WriteFile(dir+".elsewhere", im[three], 0o600)
			os.Remove(filepath.Join(dir, three))
			os.Symlink(dir+".elsewhere", filepath.Join(dir, three))
		}, "too many levels of symbolic links"},
		{"a segment replaced by a FIFO", nil, func(dir string) {
			os.Remove(filepath.Join(dir, three))
			mkfifo(filepath.Join(dir, three))
		}, "not a regular file"},
		{"a lock that is a directory", nil, func(dir string) { os.Mkdir(filepath.Join(dir, "lock"), 0o700) }, "is a directory"},
		{"files of another program", func(im image) { im["keys"] = []byte("secret"); im["log-1.seg"] = nil }, nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			bad := image{}
			for n, b := range im {
				bad[n] = b
			}
			if test.spoil != nil {
				test.spoil(bad)
			}
			bad.put(t, dir)
			if test.place != nil {
				test.place(dir)
			}
			before := imageNames(t, dir)
			s, err := embedded.Setup{Config: embedded.Config{SegmentSize: 4 << 10}, Deps: embedded.Deps{Path: dir, Log: discard}}.Open(start)
			if test.want != "" {
				if err == nil {
					s.Close()
					t.Fatal("it opens as if nothing were")
				}
				if !strings.Contains(err.Error(), test.want) {
					t.Errorf("%v, want %q in it", err, test.want)
				}
				if !strings.Contains(err.Error(), dir) {
					t.Errorf("%v does not name the directory", err)
				}
				if after := imageNames(t, dir); after != before {
					t.Errorf("the files were %s and are %s", before, after)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := all.differs(t, s); diff != "" {
				t.Error(diff)
			}
			s.Close()
		})
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	cfg := quiet(t)
	s := open(t, cfg)
	if _, err := cfg.Open(start); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("a second open: %v, want ErrInUse", err)
	}
	if _, err := cfg.Repair(); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("repair of an open store: %v, want ErrInUse", err)
	}
	if err := newWitness(t, s).report(presence.KindOnline, "tom"); err != nil {
		t.Errorf("the first is harmed: %v", err)
	}
	s.Close()
	s, err := cfg.Open(start)
	if err != nil {
		t.Fatalf("open after close: %v", err)
	}
	s.Close()
}
