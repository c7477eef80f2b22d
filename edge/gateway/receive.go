package gateway

import (
	"errors"
	"time"

	"rollcall/edge/gateway/frame"
	"rollcall/internal/limit"
	"rollcall/presence"
)

// take feeds bytes from the client. Only the reader calls it. It reports false when there is no use
// in reading on.
func (s *Socket) take(data []byte) bool {
	s.received.Store(int64(s.g.mono()))
	err := s.in.Feed(data, s.frame)
	if err == nil {
		return true
	}
	var broken *frame.Error
	switch {
	case errors.Is(err, errOver):
		return false
	case errors.As(err, &broken):
		s.refuseFrame(broken)
	}
	s.mu.Lock()
	closing := s.state == socketClosing
	s.mu.Unlock()
	if closing {
		// The framing is lost, so the client's close frame would not be recognised; its end of file
		// will be.
		s.in = frame.Reader{}
		s.op = 0
	}
	return closing
}

func (s *Socket) refuseFrame(e *frame.Error) {
	s.mu.Lock()
	open := s.state == socketOpen
	s.mu.Unlock()
	if !open {
		return
	}
	kind := RefusedFrame
	code := e.Code
	if code == frame.CloseTooBig {
		kind = RefusedSize
		if s.tooBig != 0 {
			code = int(s.tooBig)
		}
	}
	s.g.Refuse(kind)
	s.Close(code, e.Text)
}

// errOver: the socket is over; nothing more is read.
var errOver = errors.New("over")

// frame takes one message or control frame.
func (s *Socket) frame(op frame.Op, payload []byte) error {
	s.mu.Lock()
	state := s.state
	s.mu.Unlock()
	if state == socketGone {
		return errOver
	}
	if op == frame.Close {
		return s.closed(state, payload)
	}
	if state == socketClosing {
		return nil
	}
	switch op {
	case frame.Ping, frame.Pong:
		if !s.within(&s.controls, time.Second, s.g.cfg.ControlRate, 2*s.g.cfg.ControlRate) {
			s.g.Refuse(RefusedControls)
			s.Close(frame.ClosePolicy, "too many control frames")
			return nil
		}
		if op == frame.Ping {
			s.spoke.Store(true)
			s.write(frame.Append(make([]byte, 0, len(payload)+2), frame.Pong, payload))
		}
		return nil
	}
	if op != s.op {
		s.g.Refuse(RefusedType)
		s.Close(frame.CloseType, "the subprotocol has the other kind of messages")
		return nil
	}
	s.message(payload)
	return nil
}

// closed answers the client's close frame.
func (s *Socket) closed(state socketState, payload []byte) error {
	code, _, err := frame.ParseClose(payload)
	if err != nil && state == socketOpen {
		return err
	}
	if state == socketOpen {
		s.write(frame.AppendClose(nil, code, ""))
	}
	s.end(presence.CauseLost, s.g.Now())
	return errOver
}

// within takes one of n in a period, with bursts of up to burst; it reports false when the limit is
// reached.
func (s *Socket) within(m *limit.Meter, period time.Duration, n, burst int) bool {
	each := period / time.Duration(n)
	_, ok := m.Take(each, each*time.Duration(burst), s.g.mono())
	return ok
}

func (s *Socket) message(data []byte) {
	s.g.count.messages.Add(1)
	rate := s.g.cfg.MessageRate
	if !s.within(&s.messages, time.Second, rate, 2*rate) {
		s.g.Refuse(RefusedMessages)
		// Ten seconds' messages may be refused in a row, and a tenth of the rate at any time. A
		// short excess is answered by an error, a lasting one closes the socket.
		if !s.within(&s.overRate, 10*time.Second, rate, 10*rate) {
			s.Close(frame.ClosePolicy, "too many messages")
			return
		}
		s.handler.RateLimited(s, data)
		return
	}
	s.spoke.Store(true)
	s.handler.Message(s, data)
}
