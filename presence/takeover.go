package presence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Successor does the work that this process takes over from lost nodes. Sessions in apps whose
// ids end in Suffix stand for work, not for connections: they move to Node, of this process,
// instead of ending with their own node.
type Successor struct {
	Suffix string
	Node   NodeID
	// Moved is called with the sessions of key that have moved here from a lost node, after the
	// store has kept it. It must not block.
	Moved func(key Key, sessions []Session, from LostNode)
	// Unsure is called when the store failed and may have moved sessions all the same: SessionsOn
	// lists those of the node.
	Unsure func()
}

// TakeOver has t do the work of lost nodes. The move is a compare and set, so each session moves to
// one survivor, and to the next one if that dies, too, before the work is done. Call it before the
// first sweep.
func (s *Service) TakeOver(t Successor) { s.successor = &t }

// Move moves the sessions of a lost node to another and returns them.
func (st *State) Move(from, to NodeID) (moved []Session, e Effect) {
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.Node == from && !s.Ended {
			s.Node = to
			moved = append(moved, *s)
		}
	}
	if len(moved) == 0 {
		return nil, Same
	}
	return moved, Quiet
}

// move takes over what of keys stands for work. It returns the rest, and whether anything moved.
func (s *Service) move(ctx context.Context, l LostNode, keys []Key, now Millis) (rest []Key, moved bool, err error) {
	t := s.successor
	if t == nil || l.Node == t.Node {
		return keys, false, nil
	}
	work := slices.DeleteFunc(slices.Clone(keys), func(k Key) bool { return !strings.HasSuffix(string(k.App), t.Suffix) })
	if len(work) == 0 {
		return keys, false, nil
	}
	rest = slices.DeleteFunc(slices.Clone(keys), func(k Key) bool { return strings.HasSuffix(string(k.App), t.Suffix) })
	all := make([][]Session, len(work))
	err = s.update(ctx, work, now, func(i int, st *State) (e Effect) {
		all[i], e = st.Move(l.Node, t.Node)
		return e
	})
	if part := (*PartError)(nil); errors.As(err, &part) {
		for _, i := range part.Failed {
			all[i] = nil
		}
	} else if err != nil {
		clear(all)
	}
	if err != nil {
		t.Unsure()
	}
	for i := range work {
		if len(all[i]) > 0 {
			moved = true
			t.Moved(work[i], all[i], l)
		}
	}
	if err != nil {
		err = fmt.Errorf("take over the work of node %q: %w", l.Node, err)
	}
	return rest, moved, err
}
