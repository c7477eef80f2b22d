package main

import "math/rand/v2"

const (
	online  = '1'
	offline = '0'
	unknown = '?'
)

// An id is user- and ten digits. All ids have one width, so that a request is laid out once and
// only digits change.
const (
	idPrefix = "user-"
	idDigits = 10
	idWidth  = len(idPrefix) + idDigits
	maxPeers = 100_000_000
)

// One id in so many of a query is of a peer that was never reported.
const unknownEvery = 20

// truth is what the driver knows of every peer of one store. Servers that share a store share its
// truth.
//
// It needs no lock: in a work that changes peers, connection c of n owns the peers p with p%n == c,
// sends their hooks and asks only about them, and it has one request in flight.
type truth struct {
	state []byte // online or offline, one byte a peer
	hooks int    // windows in which peers were turned, on any of the servers
}

func newTruth(peers int, seed uint64) *truth {
	t := &truth{state: make([]byte, peers)}
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range t.state {
		t.state[i] = offline + byte(rng.Uint32()&1)
	}
	return t
}

func (t *truth) of(peer int) byte {
	if peer < len(t.state) {
		return t.state[peer]
	}
	return unknown
}

func (t *truth) turn(peer int) { t.state[peer] ^= online ^ offline }

// putID overwrites the digits of the id that starts at b[0].
func putID(b []byte, peer int) {
	b = b[len(idPrefix):idWidth]
	for i := idDigits - 1; i >= 0; i-- {
		b[i] = '0' + byte(peer%10)
		peer /= 10
	}
}

func appendID(b []byte, peer int) []byte {
	b = append(b, idPrefix+"0000000000"...)
	putID(b[len(b)-idWidth:], peer)
	return b
}
