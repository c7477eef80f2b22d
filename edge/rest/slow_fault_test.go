//go:build faults

package rest_test

import "testing"

func TestFaultStoppedWatchers(t *testing.T) { stopped(t, 1000, 1_000_000) }
