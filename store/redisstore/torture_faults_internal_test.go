//go:build faults

package redisstore

import (
	"testing"
	"time"
)

func TestFaultNearCacheIsNeverStaleInAMillionReads(t *testing.T) {
	nearCacheIsNeverStale(t, 45*time.Second, 100, 1_000_000)
}
