//go:build faults

package redisstore

import "testing"

func TestFaultNearCacheIsNeverStaleInAMillionReads(t *testing.T) {
	nearCacheIsNeverStale(t, 100, 1_000_000, 20)
}
