package hookout

// Kill ends s as a kill -9 of its process does, as far as the disk, the store and the app can see.
func (s *Sender) Kill() {
	s.box.Kill()
	s.records.Wait()
}
