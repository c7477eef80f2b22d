package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"rollcall/internal/configload"
	"rollcall/presence"
)

// A Report is what [Repair] found and did.
type Report struct {
	// Damage is every bad place, in the order in which it was found. Empty: the store opens as it
	// is.
	Damage []*DamageError
	// Peers are those whose states were seen in what is damaged: what is kept of them may be older
	// than it should be. Peers whose very names were lost are not known.
	Peers []presence.PeerID
	// Kept is how many peers could be read.
	Kept int64
	// Aside is the directory to which the old files were moved; empty when nothing was changed.
	Aside string
	// Torn is how many bytes of a torn tail the next start will cut.
	Torn int64

	seen map[presence.PeerID]bool
}

// maxAffected bounds how many peers a report names.
const maxAffected = 10_000

// lost notes the peers that can be made out in bytes that are not trusted.
func (r *Report) lost(b []byte) {
	if len(b) > frameHead+payloadHead {
		r.lostEntries(b[frameHead+payloadHead:])
	}
	if len(b) > payloadHead {
		r.lostEntries(b[payloadHead:])
	}
}

func (r *Report) lostEntries(b []byte) {
	for len(b) > 0 && len(r.Peers) < maxAffected {
		_, w := binary.Uvarint(b)
		if w <= 0 {
			return
		}
		peer, rest := cutBytes(b[w:])
		if rest == nil || presence.CheckKnown(presence.PeerID(peer)) != nil {
			return
		}
		packed, rest := cutBytes(rest)
		if rest == nil || len(packed) == 0 {
			return
		}
		if id := presence.PeerID(peer); !r.seen[id] {
			r.seen[id] = true
			r.Peers = append(r.Peers, id)
		}
		b = rest
	}
}

// Inspect reads the store in a directory as [Repair] would and changes nothing. It is an error
// matching [disk.ErrInUse] when a process has it open.
func Inspect(cfg Config, deps Deps) (*Report, error) { return repair(cfg, deps, false) }

// Repair makes a damaged store open again: what can be read is written to a new snapshot, and the
// old files are moved to a directory beside it, for inspection. A store without damage is left
// alone.
func Repair(cfg Config, deps Deps) (*Report, error) { return repair(cfg, deps, true) }

func repair(cfg Config, deps Deps, change bool) (*Report, error) {
	if err := configload.Validate(&cfg); err != nil {
		return nil, err
	}
	s := newStore(cfg.withDefaults(), deps.withDefaults())
	l, err := lockLog(&s.cfg, &s.deps)
	if err != nil {
		return nil, err
	}
	s.log = l
	r := &recovery{s: s, log: l, mend: &Report{seen: map[presence.PeerID]bool{}}}
	err = r.load()
	r.mend.Kept = s.index.peers.Load()
	r.mend.Torn = s.stats.tornBytes
	if err == nil && change && len(r.mend.Damage) > 0 {
		err = r.rewrite()
	}
	if err = errors.Join(err, l.lock.Close()); err != nil {
		return nil, fmt.Errorf("repair %s: %w", deps.Path, err)
	}
	return r.mend, nil
}

// rewrite replaces the old files by a snapshot of what could be read.
func (r *recovery) rewrite() error {
	l := r.log
	old := slices.DeleteFunc(slices.Clone(r.names), func(n string) bool { return !ours(n) })
	for _, n := range old {
		var number, section uint32
		if parseName(n, logName, &number) {
			l.number = max(l.number, number)
		}
		if parseName(n, sectionName, &number, &section) {
			l.sections = max(l.sections, number)
		}
	}
	aside := ""
	for i := 1; ; i++ {
		aside = fmt.Sprintf("damaged-%d", i)
		if !slices.Contains(r.names, aside) {
			break
		}
	}
	if err := l.fs.MkdirAll(l.path("%s", aside)); err != nil {
		return err
	}
	// Segment and sections are new names, and nothing counts until the manifest is there: an
	// interrupted repair leaves a store that is refused, never one that looks whole.
	if err := l.begin(l.number+1, r.s.cfg.SegmentSize); err != nil {
		return err
	}
	defer l.file.Close()
	w := r.s.newSections(l.number, l.seq+1)
	if err := w.writeAll(); err != nil {
		w.abandon()
		return err
	}
	for _, n := range old {
		if err := l.fs.Rename(l.path("%s", n), filepath.Join(l.dir, aside, n)); err != nil {
			return err
		}
	}
	if err := l.fs.SyncDir(l.path("%s", aside)); err != nil {
		return err
	}
	r.mend.Aside = l.path("%s", aside)
	return l.writeManifest(w.m)
}

// ours reports whether a file is part of the store.
func ours(name string) bool {
	var a, b uint32
	return name == manifestName || name == drainedName || parseName(name, logName, &a) || parseName(name, sectionName, &a, &b)
}

func sequenceOf(frame []byte) uint64 { return binary.LittleEndian.Uint64(frame[8:]) }

// tornBytes is how far bytes that were written reach behind the last good frame.
func tornBytes(r *frameReader) int64 {
	rest, _ := r.rest()
	return int64(lastNonZero(rest))
}
