//go:build faults

package outagetest_test

import "testing"

// TestFaultThreeNodesThousandsOfTimes plays many more schedules than a commit waits for.
func TestFaultThreeNodesThousandsOfTimes(t *testing.T) { playAll(t, 200, 3200) }
