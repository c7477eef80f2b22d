package token

import (
	"cmp"
	"encoding/binary"
	"slices"

	"rollcall/presence"
)

// A Code is the status that a client was last sent of a peer, in two bits.
type Code uint8

// The codes.
const (
	NotSent Code = iota
	SentUnknown
	sentOffline
	sentOnline
)

// CodeOf returns the code of a status.
func CodeOf(s presence.Status) Code {
	switch s {
	case presence.Online:
		return sentOnline
	case presence.Offline:
		return sentOffline
	}
	return SentUnknown
}

// ExactPeers is up to how many peers the token of a watcher that sees only statuses has two bits
// for each. For a longer list it has a digest, and when that differs all are sent: each event
// carries such a token.
const ExactPeers = 512

// Known is a code for each peer, in the order of [Rank].
type Known []byte

// NewKnown returns what is known of so many peers before anything was sent.
func NewKnown(peers int) Known { return make(Known, (peers+3)/4) }

// At returns the code of the peer at rank.
func (k Known) At(rank int) Code { return Code(k[rank/4] >> (rank % 4 * 2) & 3) }

// Set sets the code of the peer at rank.
func (k Known) Set(rank int, code Code) {
	at := rank % 4 * 2
	k[rank/4] = k[rank/4]&^(3<<at) | byte(code)<<at
}

// Rank sorts places so that every process puts the same peers into the same order, in whatever
// order they were named.
func Rank[T any](places []T, peer func(T) string) {
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

// Digest is what one peer adds to the digest of a long list.
func Digest(peer presence.PeerID, code Code) uint64 {
	if code == NotSent {
		return 0
	}
	return mix(Fingerprint(string(peer)) + uint64(code)*0x9e3779b97f4a7c15)
}

// DigestText is the text of a digest in a token.
func DigestText(d uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], d)
	return string(b[:])
}
