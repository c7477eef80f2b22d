//go:build unix && !linux && !race

package embedded

func adviseHuge([]byte) {}
