//go:build !linux

package nearcache

func adviseHuge([]uint64) {}
