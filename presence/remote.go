package presence

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Remote is what a store adds that can be out of reach, or lose what it acknowledged, while this
// process lives on. A store without it fails together with the process. The [Service] names every
// delivery that counts, so a report that is applied twice counts once.
type Remote interface {
	// Spool keeps reports that the store could not take, durably and on this side, and applies them
	// in order when it can. out[i] is what reports[i] made of what is known here. It matches
	// [ErrFull] when there is no room and [ErrUnavailable] when there is no spool.
	Spool(ctx context.Context, reports []Report, now Millis, out []Outcome) error
	// Acknowledged passes the store the reports that it has taken, so that it can replay them if it
	// finds that they are lost. It keeps none of the slice.
	Acknowledged(reports []Report, now Millis)
	// OnReturn has the store call fn when it can be reached again after an outage, or may have lost
	// words: who holds sessions says them again. Between asOf and now nothing could be renewed. fn
	// must not block; it returns a channel that it closes when all is said, or nil: until then
	// answers have an age. OnReturn returns how to stop.
	OnReturn(fn func(asOf, now Millis) (done <-chan struct{})) (stop func())
	// Age returns how long a part of the store has been out of reach; 0 when all of it answers.
	Age() time.Duration
	// AgeOf returns how long the part of the store that keeps key has been out of reach; 0 when it
	// answers.
	AgeOf(key Key) time.Duration
}

// ReplayWithin is how late a report may come from a node that was cut off alone and still be
// counted at its time of receipt. A report from an outage of all nodes may come later: what they
// write when they return is kept together for as long.
const ReplayWithin = 10 * time.Minute

// A PartError says that an update wrote, or a call of Loads read, all but some of its peers.
// Sending all of them again does no harm.
type PartError struct {
	Failed []int // in the batch, in order
	Err    error // why the first of them failed
}

func (e *PartError) Error() string { return fmt.Sprintf("%d peers: %v", len(e.Failed), e.Err) }

func (e *PartError) Unwrap() error { return e.Err }

// OnReturn has the store call fn when it is reachable again after an outage, or may have lost
// reports: a process that holds sessions reports them again. fn returns a channel that it closes
// then, or nil, see [Remote]. A store that fails together with the process never calls it. OnReturn
// returns how to stop.
func (s *Service) OnReturn(fn func(now Millis) (done <-chan struct{})) (stop func()) {
	if s.remote == nil {
		return func() {}
	}
	return s.remote.OnReturn(func(_, now Millis) <-chan struct{} { return fn(now) })
}

// keepAdmitted notifies a remote store which of the admitted reports it has taken, and hands those
// that it could not take to its spool.
func (s *Service) keepAdmitted(ctx context.Context, reports []Report, admitted []int, now Millis, out []Outcome, err error) error {
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return err
	}
	taken, left := admitted, []int(nil)
	if part := (*PartError)(nil); errors.As(err, &part) {
		taken, left = split(admitted, part.Failed)
	} else if err != nil {
		taken, left = nil, admitted
	}
	if len(taken) > 0 {
		s.remote.Acknowledged(pick(reports, taken), now)
	}
	if len(left) == 0 {
		return nil
	}
	outs := make([]Outcome, len(left))
	if spooled := s.remote.Spool(ctx, pick(reports, left), now, outs); spooled != nil {
		return errors.Join(spooled, err)
	}
	for k, i := range left {
		out[i] = outs[k]
	}
	return nil
}

// split parts list into what is at the places in failed, which are in order, and the rest.
func split(list, failed []int) (rest, at []int) {
	for k, i := range list {
		if len(failed) > 0 && failed[0] == k {
			at = append(at, i)
			failed = failed[1:]
			continue
		}
		rest = append(rest, i)
	}
	return rest, at
}

// pick returns the reports at index, without a copy when these are all.
func pick(reports []Report, index []int) []Report {
	if len(index) == len(reports) {
		return reports
	}
	some := make([]Report, len(index))
	for k, i := range index {
		some[k] = reports[i]
	}
	return some
}
