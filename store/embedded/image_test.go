package embedded_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// An image is the files of a store at a moment at which the process might have died.
type image map[string][]byte

func imageOf(t testing.TB, dir string) image {
	t.Helper()
	im := image{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // a temporary file of maintain, gone meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		im[e.Name()] = b
	}
	return im
}

// put writes the image to a fresh directory.
func (im image) put(t testing.TB, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range im {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const logOne = "log-0000000001.seg"

// A frameEnd is how far the log reached when a report had been acknowledged, and what all peers
// were then.
type frameEnd struct {
	size int
	are  map[string]presence.Status
}

func used(b []byte) int { return len(bytes.TrimRight(b, "\x00")) }

var chorus = []string{"tom", "ann", "bob", "eve"}

// smallLog is a store with a few frames in its first segment, as it lies on disk while it is open.
func smallLog(t testing.TB) (image, []frameEnd) {
	t.Helper()
	cfg := quiet(t)
	cfg.SegmentSize, cfg.FS = 4<<10, &faultFS{noSync: true}
	s := open(t, cfg)
	w := newWitness(t, s)
	var ends []frameEnd
	note := func() {
		are := map[string]presence.Status{}
		for _, p := range chorus {
			are[p] = status(t, s, start, p)
		}
		b, err := os.ReadFile(filepath.Join(cfg.Path, logOne))
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, frameEnd{used(b), are})
	}
	note()
	for _, r := range []struct {
		kind presence.Kind
		peer string
	}{
		{presence.KindOnline, "tom"},
		{presence.KindOnline, "ann"},
		{presence.KindOffline, "tom"},
		{presence.KindOnline, "bob"},
		{presence.KindOffline, "ann"},
		{presence.KindOnline, "eve"},
	} {
		if err := w.report(r.kind, r.peer); err != nil {
			t.Fatal(err)
		}
		note()
	}
	im := imageOf(t, cfg.Path)
	delete(im, "lock")
	delete(im, "spare.seg")
	delete(im, "spare.seg.tmp")
	return im, ends
}

// openImage opens an image; what comes of it is checked by the caller.
func openImage(t testing.TB, im image, dir string) (*embedded.Store, error) {
	t.Helper()
	im.put(t, dir)
	return embedded.Setup{Config: embedded.Config{SegmentSize: 4 << 10}, Deps: embedded.Deps{Path: dir, Log: discard, FS: &faultFS{noSync: true}}}.Open(start)
}

func (e frameEnd) differs(t testing.TB, s *embedded.Store) string {
	t.Helper()
	for p, want := range e.are {
		if got := status(t, s, start, p); got != want {
			return fmt.Sprintf("%s is %v, want %v", p, got, want)
		}
	}
	return ""
}

func nextEnd(ends []frameEnd, e frameEnd) frameEnd {
	for _, n := range ends {
		if n.size > e.size {
			return n
		}
	}
	return e
}

// withSnapshot is a store with manifest, section and two segments with frames in them.
func withSnapshot(t testing.TB) (image, frameEnd) {
	t.Helper()
	cfg := quiet(t)
	cfg.SegmentSize, cfg.FS = 4<<10, &faultFS{noSync: true}
	s := open(t, cfg)
	w := newWitness(t, s)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.report(presence.KindOnline, "tom", "ann"))
	must(s.Snapshot())
	must(w.report(presence.KindOnline, "bob"))
	must(w.report(presence.KindOffline, "ann"))
	must(s.Close())
	s2, err := cfg.Open(start)
	must(err)
	w.store = s2
	must(w.report(presence.KindOnline, "eve"))
	must(w.report(presence.KindOffline, "tom"))
	must(s2.Heartbeat(t.Context(), "n1", time.Minute, true, start))
	must(s2.Close())
	im := imageOf(t, cfg.Path)
	delete(im, "lock")
	delete(im, "heartbeats") // a hint, see TestDamagedHeartbeatsKeepNothingFromOpening
	delete(im, "spare.seg")
	delete(im, "spare.seg.tmp")
	return im, frameEnd{are: map[string]presence.Status{
		"tom": presence.Offline, "ann": presence.Offline, "bob": presence.Online, "eve": presence.Online,
	}}
}

func imageNames(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != "lock" {
			names = append(names, e.Name())
		}
	}
	return strings.Join(names, " ")
}

// newer is a file as a later format would begin it.
func newer(b []byte) []byte {
	b = bytes.Clone(b)
	b[9] = 2
	sum(b)
	return b
}

// sum puts the checksum of a header right.
func sum(b []byte) {
	c := crc32.Checksum(b[:32], crc32.MakeTable(crc32.Castagnoli))
	b[32], b[33], b[34], b[35] = byte(c), byte(c>>8), byte(c>>16), byte(c>>24)
}
