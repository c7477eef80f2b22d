package embedded_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

func TestRepairMovesTheBadPartAside(t *testing.T) {
	im, ends := smallLog(t)
	dir := filepath.Join(t.TempDir(), "store")
	bad := bytes.Clone(im[logOne])
	at := ends[2].size + 40 // in the frame that says that tom went
	bad[at] ^= 0x40
	s, err := openImage(t, image{logOne: bad}, dir)
	var d *embedded.DamageError
	if !errors.As(err, &d) {
		t.Fatalf("open: %v %v, want damage", s, err)
	}
	cfg := embedded.Setup{Config: embedded.Config{SegmentSize: 4 << 10}, Deps: embedded.Deps{Path: dir, Log: discard}}

	seen, err := cfg.Inspect()
	if err != nil || len(seen.Damage) != 1 || seen.Aside != "" {
		t.Fatalf("inspect: %+v, %v; want one bad place and nothing moved", seen, err)
	}
	if _, err := cfg.Open(start); !errors.As(err, &d) {
		t.Fatalf("open after an inspection: %v, want damage still", err)
	}

	report, err := cfg.Repair()
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Damage) != 1 || report.Damage[0].Offset != d.Offset || report.Kept != 4 {
		t.Errorf("repair found %v and kept %d peers, want %v and 4", report.Damage, report.Kept, d)
	}
	if len(report.Peers) != 1 || report.Peers[0] != "tom" {
		t.Errorf("affected are %q, want tom", report.Peers)
	}
	if kept, err := os.ReadFile(filepath.Join(report.Aside, logOne)); err != nil || !bytes.Equal(kept, bad) {
		t.Errorf("the damaged file was not kept as it was: %v", err)
	}
	s, err = cfg.Open(start)
	if err != nil {
		t.Fatalf("open after the repair: %v", err)
	}
	want := frameEnd{are: map[string]presence.Status{
		"tom": presence.Online, // the word that he went is lost
		"ann": presence.Offline, "bob": presence.Online, "eve": presence.Online,
	}}
	if diff := want.differs(t, s); diff != "" {
		t.Error(diff)
	}
	w := newWitness(t, s)
	w.now += 1000
	if err := w.report(presence.KindOffline, "tom"); err != nil {
		t.Error(err)
	}
	s.Close()

	report, err = cfg.Repair()
	if err != nil || len(report.Damage) != 0 || report.Aside != "" {
		t.Errorf("repair of a sound store: %+v, %v; want nothing done", report, err)
	}
}

func TestFaultRepairOpensEveryDamage(t *testing.T) {
	im, _ := withSnapshot(t)
	for name, whole := range im {
		for at := 0; at < len(whole); at += 5 * stride {
			dir := filepath.Join(t.TempDir(), "store")
			bad := image{}
			for n, b := range im {
				bad[n] = b
			}
			bad[name] = bytes.Clone(whole)
			bad[name][at] ^= 0x10
			bad.put(t, dir)
			cfg := embedded.Setup{Config: embedded.Config{SegmentSize: 4 << 10}, Deps: embedded.Deps{Path: dir, Log: discard, FS: &faultFS{noSync: true}}}
			report, err := cfg.Repair()
			if err != nil {
				t.Errorf("%s, byte %d flipped: repair: %v", name, at, err)
				continue
			}
			s, err := cfg.Open(start)
			if err != nil {
				t.Errorf("%s, byte %d flipped: open after the repair: %v", name, at, err)
				continue
			}
			if len(report.Damage) == 0 && s.Stats().TornTails == 0 {
				t.Errorf("%s, byte %d flipped: nothing was found", name, at)
			}
			s.Close()
		}
	}
}

func TestRestoredTimeGoesOn(t *testing.T) {
	cfg := quiet(t)
	s := open(t, cfg)
	if got := s.LastAlive(); got != 0 {
		t.Errorf("an empty store was alive at %d", got)
	}
	w := newWitness(t, s)
	w.now += 5000
	if err := w.report(presence.KindOnline, "tom"); err != nil {
		t.Fatal(err)
	}
	if got := s.LastAlive(); got != w.now {
		t.Errorf("alive at %d, want %d", got, w.now)
	}
	s.Close()
	s, err := cfg.Open(w.now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.LastAlive(); got != w.now {
		t.Errorf("after a restart: alive at %d, want %d", got, w.now)
	}
}
