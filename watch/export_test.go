package watch

// Seize takes the lock of w, as a goroutine that hangs would, and returns what gives it back.
func (w *Watcher) Seize() (release func()) {
	w.mu.Lock()
	return w.mu.Unlock
}
