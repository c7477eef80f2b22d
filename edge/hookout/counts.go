package hookout

// Counts returns the counts of s by their names in the status and in metrics.
func (s *Sender) Counts() map[string]int64 {
	st := s.Stats()
	return map[string]int64{
		"waiting": st.Waiting, "owed": st.Owed, "delivered": st.Delivered, "failed": st.Failed, "refused": st.Refused,
		"dropped": st.Dropped, "expired": st.Expired, "taken_over": st.TakenOver,
	}
}
