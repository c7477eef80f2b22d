package outage

import "sync"

// A turnstile is a lock that many may hold together, or one alone. Waiting is on a condition, so
// that a disk that is slow in fake time can be played.
type turnstile struct {
	mu     sync.Mutex
	moved  sync.Cond
	inside int
	alone  bool
}

func newTurnstile() *turnstile {
	t := &turnstile{}
	t.moved.L = &t.mu
	return t
}

// enter waits while another goroutine is alone, or waits to be.
func (t *turnstile) enter() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.alone {
		t.moved.Wait()
	}
	t.inside++
}

func (t *turnstile) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inside--
	t.moved.Broadcast()
}

// close admits no more goroutines and waits until all have left. It is for one goroutine.
func (t *turnstile) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alone = true
	for t.inside > 0 {
		t.moved.Wait()
	}
}

func (t *turnstile) open() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.alone = false
	t.moved.Broadcast()
}
