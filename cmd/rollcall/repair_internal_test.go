//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/server/config"
	"rollcall/store/embedded"
)

// A repair that is interrupted changes nothing, or is finished first.
func TestAnInterruptedRepairDoesNoHarm(t *testing.T) {
	dir := t.TempDir()
	s, err := embedded.Open(config.Default().Embedded, embedded.Deps{Path: filepath.Join(dir, "state")}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadDir(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, yes := range []bool{false, true} {
		var out, said bytes.Buffer
		// The looking may be done before the interruption is seen.
		err := (&repairCmd{Data: &dir, Yes: yes}).Run(&env{ctx: ctx, stdout: &out, stderr: &said})
		switch {
		case err == nil && strings.Contains(out.String(), "nothing was changed"):
		case !yes && err != nil && strings.Contains(err.Error(), "nothing was changed"):
		default:
			t.Errorf("yes %v: %v, %q, %q", yes, err, out.String(), said.String())
		}
		// An interrupted look may have the directory open for a moment more.
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			err := (&repairCmd{Data: &dir}).Run(&env{ctx: t.Context(), stdout: &out, stderr: &said})
			if err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("it cannot be run again: %v", err)
			}
		}
	}
	if after, err := os.ReadDir(filepath.Join(dir, "state")); err != nil || len(after) != len(before) {
		t.Errorf("%v instead of %v, %v", after, before, err)
	}
}
