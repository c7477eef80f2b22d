package presence

// Store returns the store below, for tests that write past the service.
func (s *Service) Store() Store { return s.store }
