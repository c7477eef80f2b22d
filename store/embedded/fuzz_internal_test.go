package embedded

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"

	"rollcall/presence"
)

// frames is a file with frames of one entry each.
func frames(kind fileKind, n int) []byte {
	h := header{kind: kind, number: 1, first: 1, salt: 7}
	b := h.encode()
	a := &app{id: "app"}
	for i := range n {
		st := presence.State{Rev: uint64(i + 1), Status: presence.Online, Since: 1000, Until: 2000}
		f := beginPayload(nil)
		f = appendEntry(f, 0, "peer", st.Pack(nil))
		f = endPayload(f, 1000, []*app{a})
		sealFrame(f, h.salt, uint64(i+1))
		b = append(b, f...)
	}
	return b
}

// A file of any bytes is read to an end, and what is read is in order and within the file.
func FuzzFrames(f *testing.F) {
	whole := frames(kindLog, 3)
	f.Add(whole)
	f.Add(whole[:len(whole)-5])
	f.Add(append(bytes.Clone(whole), make([]byte, 100)...))
	f.Add(append(bytes.Clone(whole[:60]), whole[40:]...))
	f.Add([]byte(magic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		file := &memoryFile{b}
		r, h, err := openFrames(file, "fuzz", kindLog, 1)
		if err != nil {
			return
		}
		next := h.first
		for {
			payload, err := r.read()
			if err != nil {
				break
			}
			if next++; r.next != next {
				t.Fatalf("frame %d follows %d", r.next, next-1)
			}
			if len(payload) > len(b) || r.off > int64(len(b)) {
				t.Fatalf("a frame of %d bytes up to %d in a file of %d", len(payload), r.off, len(b))
			}
		}
		kind, at, err := r.tail()
		if err != nil {
			t.Fatal(err)
		}
		if kind == tailDamage && (at <= r.off || at >= int64(len(b))) {
			t.Fatalf("damage with a good frame at %d, behind %d, in a file of %d", at, r.off, len(b))
		}
		if kind == tailZero && len(bytes.Trim(b[r.off:], "\x00")) > 0 {
			t.Fatal("a tail that is not zero is taken for one")
		}
	})
}

// A payload whose checksum matches may still be nonsense, of another program: it is an error, not a
// panic.
func FuzzPayload(f *testing.F) {
	whole := frames(kindSection, 1)
	f.Add(whole[headerSize+frameHead:])
	f.Add([]byte{})
	f.Add(make([]byte, 13))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newStore(Config{}.withDefaults(), Deps{}.withDefaults())
		r := &recovery{s: s}
		if _, err := decodePayload(b, r.restore); err != nil {
			return
		}
		// What was taken is there.
		seen := map[presence.Key]uint64{}
		_, err := decodePayload(b, func(app presence.AppID, peer, packed []byte) error {
			k := presence.Key{App: app, Peer: presence.PeerID(peer)}
			seen[k] = max(seen[k], presence.Rev(packed))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for k, rev := range seen {
			var st presence.State
			if err := s.Load(t.Context(), k, &st); err != nil {
				t.Fatal(err)
			}
			if st.Rev != rev && s.floor.Load() < rev {
				t.Fatalf("%v has revision %d, restored was %d", k, st.Rev, rev)
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"snapshot":1,"segment":2,"sequence":3,"time":4,"floor":5,"peers":1,"sections":[{"salt":1,"frames":1,"bytes":100}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m manifest
		if json.Unmarshal(text, &m) != nil {
			return
		}
		if err := m.validate(); err != nil {
			return
		}
		if m.Peers < 0 || m.Segment == 0 || m.Sequence == 0 || m.Snapshot == 0 {
			t.Fatalf("%+v is valid", m)
		}
	})
}

// memoryFile is a file that lives in memory, for reading.
type memoryFile struct{ b []byte }

func (f *memoryFile) ReadAt(b []byte, off int64) (int, error) {
	return bytes.NewReader(f.b).ReadAt(b, off)
}
func (f *memoryFile) WriteAt([]byte, int64) (int, error) { return 0, io.ErrShortWrite }
func (f *memoryFile) Close() error                       { return nil }
func (f *memoryFile) Sync() error                        { return nil }
func (f *memoryFile) Allocate(int64) error               { return nil }
func (f *memoryFile) Truncate(int64) error               { return nil }
func (f *memoryFile) Size() (int64, error)               { return int64(len(f.b)), nil }
