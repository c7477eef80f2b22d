package watch

// Seize takes the lock of w, as somebody who hangs would, and returns what gives it back.
func (w *Watcher) Seize() (release func()) {
	w.mu.Lock()
	return w.mu.Unlock
}
