package changeout

// Kill ends s as a kill -9 of its process does, as far as the disk, the store and the receivers can
// see.
func (s *Sender) Kill() {
	s.stop()
	s.box.Kill()
}
