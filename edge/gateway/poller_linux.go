package gateway

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"rollcall/presence"
)

// A poller waits for many sockets at once. Its own descriptor is watched by the runtime's poller, so that waiting costs
// a parked goroutine and not a thread.
type poller struct {
	g     *Gateway
	file  *os.File
	raw   syscall.RawConn
	turns chan struct{} // bounds how many sockets are read at a time

	mu      sync.RWMutex
	sockets []*Socket // by descriptor
}

// readers is how many sockets may be worked on at a time. A reader waits for nothing but the store.
const readers = 512

func newPoller(g *Gateway) (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("set nonblocking: %w", err), unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), "epoll")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &poller{g: g, file: file, raw: raw, turns: make(chan struct{}, readers)}, nil
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
		s.fd = int32(fd)
		p.mu.Lock()
		for len(p.sockets) <= int(fd) {
			p.sockets = append(p.sockets, nil)
		}
		p.sockets[fd] = s
		p.mu.Unlock()
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(fd)}
		failed = p.control(unix.EPOLL_CTL_ADD, int(fd), &ev)
	})
	return errors.Join(err, failed)
}

func (p *poller) control(op, fd int, ev *unix.EpollEvent) error {
	var failed error
	err := p.raw.Control(func(epfd uintptr) { failed = unix.EpollCtl(int(epfd), op, fd, ev) })
	return errors.Join(err, failed)
}

// remove forgets s; it comes before the descriptor is closed, and so before another socket may get its number.
func (p *poller) remove(s *Socket) {
	p.mu.Lock()
	if int(s.fd) < len(p.sockets) && p.sockets[s.fd] == s {
		p.sockets[s.fd] = nil
	}
	p.mu.Unlock()
}

// run wakes the readers until the gateway closes.
func (p *poller) run() {
	events := make([]unix.EpollEvent, 256)
	ready := make([]*Socket, 0, len(events))
	for {
		var n int
		err := p.raw.Read(func(fd uintptr) bool {
			for {
				var err error
				n, err = unix.EpollWait(int(fd), events, 0)
				if !errors.Is(err, unix.EINTR) {
					return n > 0 || err != nil
				}
			}
		})
		if err != nil {
			return // closed
		}
		p.mu.RLock()
		for i := range max(n, 0) {
			if fd := int(events[i].Fd); fd < len(p.sockets) && p.sockets[fd] != nil {
				ready = append(ready, p.sockets[fd])
			}
		}
		p.mu.RUnlock()
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

func (p *poller) close() error { return p.file.Close() }

// readable reads what has come. There is one reader at a time; a wake-up during its work has it look again.
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

// writeNow writes what the kernel takes without waiting.
func writeNow(raw syscall.RawConn, b []byte) (n int, err error) {
	outer := raw.Write(func(fd uintptr) bool {
		for {
			n, err = unix.Write(int(fd), b)
			if !errors.Is(err, unix.EINTR) {
				return true
			}
		}
	})
	if outer != nil {
		return 0, outer
	}
	if errors.Is(err, unix.EAGAIN) {
		return 0, nil
	}
	return max(n, 0), err
}
