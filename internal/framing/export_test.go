package framing

// Ends returns where the requests in b end, as a follower sees it byte by byte.
func Ends(b []byte) (ends []int) {
	var f follower
	start := 0
	for i := range b {
		before := f.place
		n, ok := f.follow(b[start : i+1])
		if !ok {
			return ends
		}
		start += n
		if before != atStart && f.place == atStart {
			ends = append(ends, start)
		}
	}
	return ends
}
