package redistest

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Proxy passes bytes between clients and one server, and can stand in the way.
type Proxy struct {
	Addr string

	server string
	l      net.Listener
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns map[*pair]struct{}
	gate  *sync.Cond
	held  [2]bool // by direction: nothing passes
	done  bool

	delay  atomic.Int64 // nanoseconds a chunk waits
	slice  atomic.Int64 // bytes a chunk has at most; 0 is no limit
	cuts   atomic.Int64
	taken  atomic.Int64
	sliced atomic.Int64
	waited atomic.Int64
}

type pair struct{ client, server net.Conn }

// The directions of a [Proxy].
const (
	ToServer = iota
	ToClient
)

// RunProxy starts a proxy before server that ends with the test.
func RunProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), server: server, l: l, conns: map[*pair]struct{}{}}
	p.gate = sync.NewCond(&p.mu)
	p.wg.Add(1)
	go p.accept()
	t.Cleanup(p.close)
	return p
}

func (p *Proxy) accept() {
	defer p.wg.Done()
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.taken.Add(1)
		s, err := net.DialTimeout("tcp", p.server, Patience)
		if err != nil {
			_ = c.Close()
			continue
		}
		pr := &pair{c, s}
		p.mu.Lock()
		p.conns[pr] = struct{}{}
		p.mu.Unlock()
		p.wg.Add(2)
		go p.pass(pr, c, s, ToServer)
		go p.pass(pr, s, c, ToClient)
	}
}

func (p *Proxy) pass(pr *pair, from, to net.Conn, dir int) {
	defer p.wg.Done()
	defer p.drop(pr)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			k := len(b)
			if s := int(p.slice.Load()); s > 0 && s < k {
				k = s
				p.sliced.Add(1)
			}
			if d := p.delay.Load(); d > 0 {
				time.Sleep(time.Duration(d))
				p.waited.Add(1)
			}
			if !p.wait(dir) {
				return
			}
			if _, err := to.Write(b[:k]); err != nil {
				return
			}
			b = b[k:]
		}
		if err != nil {
			return
		}
	}
}

// wait holds until dir is open; it reports false when the proxy ends.
func (p *Proxy) wait(dir int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held[dir] && !p.done {
		p.gate.Wait()
	}
	return !p.done
}

func (p *Proxy) drop(pr *pair) {
	_ = pr.client.Close()
	_ = pr.server.Close()
	p.mu.Lock()
	delete(p.conns, pr)
	p.mu.Unlock()
}

// Freeze lets nothing pass in the given directions, both when none is given; connections stay open.
func (p *Proxy) Freeze(dirs ...int) {
	if len(dirs) == 0 {
		dirs = []int{ToServer, ToClient}
	}
	p.mu.Lock()
	for _, d := range dirs {
		p.held[d] = true
	}
	p.mu.Unlock()
}

// Thaw lets everything pass again, what was held first.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	p.held = [2]bool{}
	p.gate.Broadcast()
	p.mu.Unlock()
}

// Cut closes every connection and returns how many there were.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pr := range p.conns {
		_ = pr.client.Close()
		_ = pr.server.Close()
	}
	p.cuts.Add(int64(len(p.conns)))
	return len(p.conns)
}

// Delay makes every chunk wait for d.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Slice passes at most n bytes at a time; 0 is no limit.
func (p *Proxy) Slice(n int) { p.slice.Store(int64(n)) }

// Sliced returns how many chunks were cut off what had come.
func (p *Proxy) Sliced() int64 { return p.sliced.Load() }

// Delayed returns how many chunks were made to wait.
func (p *Proxy) Delayed() int64 { return p.waited.Load() }

// Taken returns how many connections were made to it.
func (p *Proxy) Taken() int64 { return p.taken.Load() }

// Cuts returns how many connections were cut.
func (p *Proxy) Cuts() int64 { return p.cuts.Load() }

func (p *Proxy) close() {
	_ = p.l.Close()
	p.mu.Lock()
	p.done = true
	p.gate.Broadcast()
	for pr := range p.conns {
		_ = pr.client.Close()
		_ = pr.server.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}
