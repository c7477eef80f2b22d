package embedded

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/presence"
)

// TestStatesOfANewerFormatAreNoDamage: a log or a snapshot whose states a newer program has written
// keeps an older one from starting, by name, and no repair takes them for broken.
func TestStatesOfANewerFormatAreNoDamage(t *testing.T) {
	formats := map[string]struct {
		raise func(packed []byte)
		says  string
	}{
		"a later format": {func(p []byte) { p[8] += 2 << 4 }, "holds states of format 3; this program reads up to 2"},
		"a later cause":  {func(p []byte) { p[9] = 9 }, "holds states with something that this program does not know"},
	}
	for name, snapshot := range map[string]bool{"log": false, "snapshot": true} {
		for what, format := range formats {
			t.Run(name+"/"+what, func(t *testing.T) { refusesNewerStates(t, snapshot, format.raise, format.says) })
		}
	}
}

func refusesNewerStates(t *testing.T, snapshot bool, raise func(packed []byte), says string) {
	const now presence.Millis = 1_772_600_767_000
	cfg := Setup{Config: Config{SegmentSize: 8 << 10}, Deps: Deps{Path: t.TempDir(), Log: slog.New(slog.DiscardHandler)}}
	s, err := cfg.Open(now)
	if err != nil {
		t.Fatal(err)
	}
	rules := presence.DefaultRules()
	for _, p := range []presence.PeerID{"tom", "ann"} {
		r := presence.Report{App: "a", Peer: p, Source: "x", Session: "s", Kind: presence.KindOnline, At: now, Lease: rules.Lease}
		err := s.Update(context.Background(), []presence.Key{r.Key()}, now, func(_ int, st *presence.State) presence.Effect {
			_, e := st.Apply(&r, now, &rules)
			return e
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if snapshot {
		if err := s.Snapshot(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	newerStates(t, cfg.Path, raise)
	before := namesIn(t, cfg.Path)
	for what, open := range map[string]func() error{
		"open":   func() error { _, err := cfg.Open(now); return err },
		"repair": func() error { _, err := cfg.Repair(); return err },
	} {
		err := open()
		var f *FormatError
		var d *DamageError
		if !errors.As(err, &f) || errors.As(err, &d) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want that a newer program wrote it", what, err)
		}
	}
	if after := namesIn(t, cfg.Path); after != before {
		t.Errorf("the files are %s, and were %s", after, before)
	}
}

// newerStates raises every state in the frames of dir, and puts their checksums right.
func newerStates(t *testing.T, dir string, raise func(packed []byte)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*-*"))
	if err != nil {
		t.Fatal(err)
	}
	raised := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		salt := binary.LittleEndian.Uint64(b[24:])
		for at := headerSize; at+frameHead < len(b); {
			n := int(binary.LittleEndian.Uint32(b[at:]))
			if n == 0 {
				break
			}
			frame := b[at : at+frameHead+n]
			if _, err := decodePayload(frame[frameHead:], func(_ presence.AppID, _, packed []byte) error {
				raise(packed)
				raised++
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			binary.LittleEndian.PutUint32(frame[4:], checksum(salt, frame))
			at += len(frame)
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if raised == 0 {
		t.Fatal("no state was found in the files")
	}
}

func namesIn(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}
