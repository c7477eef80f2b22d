//go:build !linux

package redisstore

func adviseHuge([]uint64) {}
