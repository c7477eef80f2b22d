//go:build faults

package redisstore

import (
	"testing"
	"time"
)

func TestFaultNearCacheIsNeverStaleInAMillionReads(t *testing.T) {
	nearCacheIsNeverStale(t, 2*time.Minute, 100, 1_000_000, 1_000_000)
}
