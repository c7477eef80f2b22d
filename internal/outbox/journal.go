package outbox

import (
	"slices"

	"rollcall/internal/spool"
)

// A Kept is an event that a journal has from an earlier run.
type Kept[E any] struct {
	ID    spool.ID
	Event *E
}

// Waiting reads what waits in journal, and how many records there are that decode does not
// understand: they stay.
func Waiting[E any](journal *spool.Spool, decode func([]byte) (*E, bool)) (found []Kept[E], unknown int, err error) {
	records, err := journal.Next(0, journal.Len())
	if err != nil {
		return nil, 0, err
	}
	for _, r := range records {
		if e, ok := decode(r.Data); ok {
			found = append(found, Kept[E]{r.ID, e})
		}
	}
	return found, len(records) - len(found), nil
}

// strike has the journal forget it. mu is held.
func (b *Box[K, E]) strike(it *item[E]) {
	if it.over {
		return
	}
	if it.over = true; it.id != 0 {
		b.struck = append(b.struck, it.id)
	}
}

// keep writes the journal. Without it the events are sent all the same; what could not be written
// is written with the next.
func (b *Box[K, E]) keep() {
	b.mu.Lock()
	fresh := slices.DeleteFunc(b.fresh, func(it *item[E]) bool { return it.over })
	struck := b.struck
	b.fresh, b.struck = nil, nil
	b.mu.Unlock()
	ids, err := b.append(fresh)
	b.mu.Lock()
	for i, it := range fresh {
		it.kept = true
		if err != nil {
			continue
		}
		if it.id = ids[i]; it.over && it.id != 0 {
			struck = append(struck, it.id)
		}
	}
	b.mu.Unlock()
	// What takes the place of others is kept before they go.
	done := err == nil
	if done && b.journal != nil && len(struck) > 0 {
		err = b.journal.Ack(struck...)
	}
	if err == nil {
		return
	}
	b.mu.Lock()
	if b.struck = append(struck, b.struck...); !done {
		b.fresh = append(fresh, b.fresh...)
	}
	b.mu.Unlock()
	b.door.Unkept(err)
}

func (b *Box[K, E]) append(fresh []*item[E]) ([]spool.ID, error) {
	if b.journal == nil || len(fresh) == 0 {
		return make([]spool.ID, len(fresh)), nil
	}
	records := make([][]byte, len(fresh))
	for i, it := range fresh {
		r, err := b.door.Encode(it.e)
		if err != nil {
			return nil, err
		}
		records[i] = r
	}
	return b.journal.Append(records)
}

func (b *Box[K, E]) closeJournal() error {
	if b.journal == nil {
		return nil
	}
	return b.journal.Close()
}
