package presence

import "crypto/rand"

// maxDeliveries is how many deliveries are remembered, the latest.
const maxDeliveries = 64

// A Delivery is remembered by a hash of its id, so that it counts once.
type Delivery struct {
	Hash uint64 // 48 bits of FNV-1a: it is stored, so it must be the same in every process
	At   Millis
}

const hashMask = 1<<48 - 1

// deliveryHash returns the hash of the delivery of r, 0 when nothing needs to be remembered of it.
// One delivery may speak of several sessions.
func deliveryHash(r *Report) uint64 {
	if r.ID == "" || !r.counted() && !r.Received {
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
	if !r.counted() {
		mix("\x00" + r.Kind.String() + "\x00")
		mix(string(r.Session))
	}
	return max((h>>48^h)&hashMask, 1)
}

// name gives the delivery of r an id when it would count anew each time it is applied: a remote
// store may take a report, lose its answer, and receive the report again.
func (r *Report) name() {
	if r.ID == "" && r.counted() && r.Kind != KindTouch {
		r.ID = rand.Text()
	}
}

func (st *State) saw(hash uint64) bool {
	for i := range st.Deliveries {
		if st.Deliveries[i].Hash == hash {
			return true
		}
	}
	return false
}

// see remembers a delivery, in the order of (time, hash) so that the order of arrival leaves no
// trace.
func (st *State) see(hash uint64, at Millis) {
	st.Deliveries = append(st.Deliveries, Delivery{hash, at})
	i := len(st.Deliveries) - 1
	for ; i > 0 && st.Deliveries[i].before(st.Deliveries[i-1]); i-- {
		st.Deliveries[i], st.Deliveries[i-1] = st.Deliveries[i-1], st.Deliveries[i]
	}
	if len(st.Deliveries) > maxDeliveries {
		st.Deliveries = append(st.Deliveries[:0], st.Deliveries[len(st.Deliveries)-maxDeliveries:]...)
	}
}

func (d Delivery) before(o Delivery) bool {
	if d.At != o.At {
		return d.At < o.At
	}
	return d.Hash < o.Hash
}
