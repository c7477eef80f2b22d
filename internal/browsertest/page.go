// Package browsertest opens pages in a real browser, headless Chromium, for tests that see what an
// app's page would see.
package browsertest

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"rollcall/internal/npmtest"
)

// driver returns the folder of the browser's driver, for a test of any package of the module.
func driver(tb testing.TB) string {
	tb.Helper()
	root, err := filepath.Abs(".")
	for ; err == nil; root = filepath.Dir(root) {
		if _, err = os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return filepath.Join(root, "internal", "browsertest")
		}
		if errors.Is(err, os.ErrNotExist) && filepath.Dir(root) != root {
			err = nil
		}
	}
	tb.Fatalf("no module holds this test: %v", err)
	return ""
}

// Open opens a page and returns what it logs to its console: each message is the JSON of a Line;
// what is none, or empty, is passed over. What the page or the driver fails with comes as
// {"failed":TEXT}. The browser ends with the test.
func Open[Line comparable](t testing.TB, address string) <-chan Line {
	t.Helper()
	dir := driver(t)
	npmtest.Install(t, dir)
	cmd := exec.Command("node", filepath.Join(dir, "browser.js"), address)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan Line, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var nothing Line
		for sc := bufio.NewScanner(out); sc.Scan(); {
			l := nothing
			if json.Unmarshal(sc.Bytes(), &l) == nil && l != nothing {
				said <- l
			}
		}
	}()
	t.Cleanup(func() {
		// The script closes the browser and ends, as it does when this process is killed.
		_ = in.Close()
		<-done
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return said
}
