//go:build faults

package changeout_test

import "testing"

// TestFaultTheLastStateOfEveryPeerArrives is TestTheLastStateOfEveryPeerArrives at length.
func TestFaultTheLastStateOfEveryPeerArrives(t *testing.T) { playSeeds(t, 1000, 1100) }
