package presence

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
)

// Activity is what the user does with the app of a session.
type Activity uint8

// The activities. The zero value: no source says.
const (
	ActivityUnknown Activity = iota
	Background               // connected, and not on the screen
	Idle                     // on the screen, and not used
	Foreground               // on the screen and in use
	activities
)

var activityNames = [activities]string{"unknown", "background", "idle", "foreground"}

func (a Activity) String() string {
	if a < activities {
		return activityNames[a]
	}
	return "unknown"
}

// ParseActivity returns the activity called name; ok is false for a name that is none.
func ParseActivity(name string) (a Activity, ok bool) {
	for i, n := range activityNames {
		if n == name {
			return Activity(i), true
		}
	}
	return ActivityUnknown, false
}

// An Active is the latest word about the activity of one session. It is a register beside what the
// session is: the word with the greatest time counts, within the latest incarnation, in whatever
// order words and reports of the session come. It outlives the end of the session, which may turn
// out to be none.
type Active struct {
	Activity Activity
	At       Millis // of the report that said so, by the clock of the source; 0: none has
	Used     Millis // when the user last did something; 0: not said
}

// activeOf returns what r says of the activity of its session.
func activeOf(r *Report) Active {
	if r.Activity == ActivityUnknown {
		return Active{}
	}
	return Active{r.Activity, r.At, min(r.Used, r.At)}
}

// weigh orders words, in full so that the order of arrival decides nothing.
func (a *Active) weigh(o *Active) int {
	return cmp.Or(cmp.Compare(a.At, o.At), cmp.Compare(a.Activity, o.Activity), cmp.Compare(a.Used, o.Used))
}

// at returns the activity at now: what is on the screen and was not used for as long as rules say
// is idle.
func (a *Active) at(now Millis, rules *Rules) Activity {
	if a.Activity == Foreground && a.Used != 0 && now >= a.Used.Add(rules.Idle) {
		return Idle
	}
	return a.Activity
}

// ActivityAt returns what the user does in s at now.
func (s *Session) ActivityAt(now Millis, rules *Rules) Activity { return s.Active.at(now, rules) }

// latest returns the word about s once n is merged into it.
func (s *Session) latest(n *Session) Active {
	switch c := cmp.Compare(n.Incarnation, s.Incarnation); {
	case c > 0 || c == 0 && n.Active.weigh(&s.Active) > 0:
		return n.Active
	}
	return s.Active
}

// Activity returns what the user does at now, the most awake of the sessions that are live, and
// when the user last did something; zeros when no source says.
func (st *State) Activity(now Millis, rules *Rules) (a Activity, used Millis) {
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.Live(now) {
			a, used = max(a, s.Active.at(now, rules)), max(used, s.Active.Used)
		}
	}
	return a, used
}

// sectionActivity holds, for each session with a word about its activity: 2 bytes that name the
// session among those of the peer, 1 byte activity (bits 0-1) and whether Used follows (bit 2),
// time less the start of the session, Used less that time. It is not critical, so an older release
// may carry it over sessions that it adds, touches and removes; what names no session is dropped.
const sectionActivity = 7 << 1

const (
	activityBits = 3
	activityUsed = 1 << 2
)

// mark names s among the sessions of a peer, in order where two have the same.
func (s *Session) mark() uint16 {
	h := fnv.New32a()
	h.Write([]byte(s.Source))
	h.Write([]byte{0})
	h.Write([]byte(s.ID))
	sum := h.Sum32()
	return uint16(sum>>16) ^ uint16(sum)
}

func packActivity(sessions []Session) []byte {
	var b []byte
	for i := range sessions {
		s := &sessions[i]
		if s.Active.At == 0 {
			continue
		}
		b = binary.BigEndian.AppendUint16(b, s.mark())
		flags := byte(s.Active.Activity)
		if s.Active.Used != 0 {
			flags |= activityUsed
		}
		b = appendMillis(append(b, flags), s.Active.At, s.Start)
		if s.Active.Used != 0 {
			b = binary.AppendUvarint(b, uint64(s.Active.At-s.Active.Used))
		}
	}
	return b
}

func (r *unpacker) activity(st *State) {
	next := 0
	for r.left() > 0 && !r.bad {
		mark := uint16(r.byte())<<8 | uint16(r.byte())
		flags, at := r.byte(), Millis(r.varint())
		var ago Millis
		if flags&activityUsed != 0 {
			ago = Millis(r.uvarint())
		}
		a := Active{Activity: Activity(flags & activityBits)}
		if r.bad || flags&^(activityBits|activityUsed) != 0 || a.Activity == ActivityUnknown || ago < 0 {
			r.fail()
			return
		}
		for i := next; i < len(st.Sessions); i++ {
			s := &st.Sessions[i]
			if s.mark() != mark {
				continue
			}
			a.At = s.Start + at
			if a.At <= 0 || a.At > maxMillis || ago >= a.At {
				r.fail()
				return
			}
			if flags&activityUsed != 0 {
				a.Used = a.At - ago
			}
			s.Active, next = a, i+1
			break
		}
	}
}

// checkActivity returns what is wrong with the activity of r.
func (r *Report) checkActivity() error {
	switch {
	case r.Activity == ActivityUnknown && r.Used == 0:
		return nil
	case r.Activity >= activities || r.Activity == ActivityUnknown:
		return fmt.Errorf("%w: activity %d of the report is not known to this release", ErrInvalid, r.Activity)
	case r.Session == "" || !r.present():
		return fmt.Errorf("%w: an activity is that of a named session that is there", ErrInvalid)
	case r.Used < 0 || r.Used > maxMillis:
		return fmt.Errorf("%w: the time of the last use is out of range", ErrInvalid)
	}
	return nil
}
