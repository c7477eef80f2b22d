package gateway

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"rollcall/presence"
)

// A poller waits for many sockets at once, in one system call on a thread of its own. (The
// runtime's poller could watch its descriptor and save the thread; but then two waiters look into
// one set at the same time, and kernels have had races there.)
type poller struct {
	g     *Gateway
	epoll int
	wake  int           // an eventfd, for closing
	turns chan struct{} // bounds how many sockets are read at a time

	mu      sync.RWMutex
	sockets []*Socket // by descriptor
	closed  bool
}

// readers is how many sockets may be worked on at a time. A reader waits for nothing but the store.
const readers = 512

func newPoller(g *Gateway) (*poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("eventfd: %w", err), unix.Close(epoll))
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &ev); err != nil {
		return nil, errors.Join(fmt.Errorf("epoll_ctl: %w", err), unix.Close(wake), unix.Close(epoll))
	}
	return &poller{g: g, epoll: epoll, wake: wake, turns: make(chan struct{}, readers)}, nil
}

// rawOf returns the descriptor of a plain TCP connection, for asking the kernel without waiting.
func (p *poller) rawOf(conn any) (syscall.RawConn, bool) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil, false
	}
	raw, err := c.SyscallConn()
	return raw, err == nil
}

// add begins to watch s. What the client sent already is an event too.
func (p *poller) add(s *Socket) error {
	var failed error
	err := s.raw.Control(func(fd uintptr) {
		p.mu.Lock()
		defer p.mu.Unlock()
		s.setFD(int32(fd))
		if p.closed {
			failed = net.ErrClosed
			return
		}
		for len(p.sockets) <= int(fd) {
			p.sockets = append(p.sockets, nil)
		}
		p.sockets[fd] = s
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(fd)}
		if failed = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, int(fd), &ev); failed != nil {
			p.sockets[fd] = nil
			s.setFD(-1)
		}
	})
	s.mu.Lock()
	gone := s.state == socketGone
	s.mu.Unlock()
	if gone {
		p.remove(s) // its end came before there was something to remove
	}
	return errors.Join(err, failed)
}

// setFD is called with the poller's lock, so that either lock is enough to read it.
func (s *Socket) setFD(fd int32) {
	s.mu.Lock()
	s.fd = fd
	s.mu.Unlock()
}

// remove forgets s; it comes before the descriptor is closed, and so before another socket may get
// its number.
func (p *poller) remove(s *Socket) {
	p.mu.Lock()
	// A socket may end before it was added.
	if s.fd >= 0 && int(s.fd) < len(p.sockets) && p.sockets[s.fd] == s {
		p.sockets[s.fd] = nil
	}
	p.mu.Unlock()
}

// run wakes the readers until the poller is closed.
func (p *poller) run() {
	events := make([]unix.EpollEvent, 256)
	ready := make([]*Socket, 0, len(events))
	for {
		n, err := unix.EpollWait(p.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			p.g.Log.Error("epoll_wait failed", "err", err)
			return
		}
		p.mu.RLock()
		closed := p.closed
		for i := range max(n, 0) {
			if fd := int(events[i].Fd); fd < len(p.sockets) && p.sockets[fd] != nil {
				ready = append(ready, p.sockets[fd])
			}
		}
		p.mu.RUnlock()
		if closed {
			return
		}
		for i, s := range ready {
			ready[i] = nil
			if s.reads.Add(1) > 1 {
				continue // its reader will see
			}
			p.turns <- struct{}{}
			p.g.sockets.Go(func() {
				s.readable()
				<-p.turns
			})
		}
		ready = ready[:0]
	}
}

// close has run return. The descriptors are released by release, once it has.
func (p *poller) close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	if _, err := unix.Write(p.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
		return fmt.Errorf("wake the poller: %w", err)
	}
	return nil
}

func (p *poller) release() error { return errors.Join(unix.Close(p.wake), unix.Close(p.epoll)) }

// readable reads what has come. There is one reader at a time; a wake-up during its work has it
// look again.
func (s *Socket) readable() {
	buf := buffers.Get().(*[readSize]byte)
	defer buffers.Put(buf)
	for {
		seen := s.reads.Load()
		for {
			n, again, err := readNow(s.raw, buf[:])
			if again {
				break
			}
			if err != nil || n == 0 {
				s.end(presence.CauseLost, s.g.Now())
				return
			}
			if !s.take(buf[:n]) {
				return
			}
		}
		if s.reads.CompareAndSwap(seen, 0) {
			return
		}
	}
}

// readNow reads without waiting; again says that nothing is there.
func readNow(raw syscall.RawConn, b []byte) (n int, again bool, err error) {
	outer := raw.Read(func(fd uintptr) bool {
		for {
			n, err = unix.Read(int(fd), b)
			if !errors.Is(err, unix.EINTR) {
				return true
			}
		}
	})
	if outer != nil {
		return 0, false, outer
	}
	if errors.Is(err, unix.EAGAIN) {
		return 0, true, nil
	}
	return n, false, err
}
