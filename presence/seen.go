package presence

import "crypto/rand"

// maxSeen is how many deliveries are remembered, the latest.
const maxSeen = 64

// Seen remembers one delivery by a hash of its id, so that it counts once.
type Seen struct {
	Hash uint64 // 48 bits of FNV-1a: it is stored, so it must be the same in every process
	At   Millis
}

const hashMask = 1<<48 - 1

// seenHash returns the hash of the delivery of r, 0 when nothing needs to be remembered of it. One delivery may speak of
// several sessions.
func seenHash(r *Report) uint64 {
	if r.ID == "" || r.Session != "" && !r.Received {
		return 0
	}
	h := uint64(14695981039346656037)
	mix := func(s string) {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	mix(string(r.Source))
	mix("\x00")
	mix(r.ID)
	if r.Session != "" {
		mix("\x00" + r.Kind.String() + "\x00")
		mix(string(r.Session))
	}
	return max((h>>48^h)&hashMask, 1)
}

// name gives the delivery of r an id when it would count anew each time it is applied: a distant store may take a report, lose
// its answer, and be told again.
func (r *Report) name() {
	if r.ID == "" && r.Session == "" && r.Kind != KindTouch {
		r.ID = rand.Text()
	}
}

func (st *State) saw(hash uint64) bool {
	for i := range st.Seen {
		if st.Seen[i].Hash == hash {
			return true
		}
	}
	return false
}

// see remembers a delivery, in the order of (time, hash) so that the order of arrival leaves no trace.
func (st *State) see(hash uint64, at Millis) {
	st.Seen = append(st.Seen, Seen{hash, at})
	i := len(st.Seen) - 1
	for ; i > 0 && st.Seen[i].before(st.Seen[i-1]); i-- {
		st.Seen[i], st.Seen[i-1] = st.Seen[i-1], st.Seen[i]
	}
	if len(st.Seen) > maxSeen {
		st.Seen = append(st.Seen[:0], st.Seen[len(st.Seen)-maxSeen:]...)
	}
}

func (s Seen) before(o Seen) bool {
	if s.At != o.At {
		return s.At < o.At
	}
	return s.Hash < o.Hash
}
