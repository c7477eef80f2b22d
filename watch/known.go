package watch

import (
	"cmp"
	"encoding/binary"
	"slices"

	"rollcall/presence"
)

// What a peer was notified to be, in two bits.
const (
	notTold = iota // 0: nothing yet
	sentUnknown
	toldOffline
	toldOnline
)

func codeOf(s presence.Status) uint8 {
	switch s {
	case presence.Online:
		return toldOnline
	case presence.Offline:
		return toldOffline
	}
	return sentUnknown
}

// exactPeers is up to how many peers the token of a watcher that sees only statuses has two bits for each. For a longer list it has a
// digest, and when that differs all are notified: each event carries such a token.
const exactPeers = 512

// known is two bits a peer, in the order of [ranks].
type known []byte

func newKnown(peers int) known { return make(known, (peers+3)/4) }

func (k known) at(rank int) uint8 { return k[rank/4] >> (rank % 4 * 2) & 3 }

func (k known) set(rank int, code uint8) {
	at := rank % 4 * 2
	k[rank/4] = k[rank/4]&^(3<<at) | code<<at
}

// ranks sorts places so that every process puts the same peers into the same order, however they were named.
func ranks[T any](places []T, peer func(T) string) {
	type ranked struct {
		f     uint64
		place T
	}
	all := make([]ranked, len(places))
	for i, p := range places {
		all[i] = ranked{Fingerprint(peer(p)), p}
	}
	slices.SortFunc(all, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.f, b.f), cmp.Compare(peer(a.place), peer(b.place)))
	})
	for i := range all {
		places[i] = all[i].place
	}
}

// digestOf is what one peer adds to the digest of a long list.
func digestOf(peer presence.PeerID, code uint8) uint64 {
	if code == notTold {
		return 0
	}
	return mix(Fingerprint(string(peer)) + uint64(code)*0x9e3779b97f4a7c15)
}

func digestText(d uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], d)
	return string(b[:])
}
