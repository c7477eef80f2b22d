package npmtest_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"rollcall/internal/npmtest"
)

// A package of this disk stands for one of the registry's.
func TestInstallOnceHoweverManyAsk(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "left", "package.json"), `{"name":"left","version":"1.0.0"}`)
	write(t, filepath.Join(dir, "package.json"), `{"name":"test","version":"1.0.0","dependencies":{"left":"file:left"}}`)
	lock := filepath.Join(dir, "package-lock.json")
	write(t, lock, `{"name":"test","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{
		"":{"name":"test","version":"1.0.0","dependencies":{"left":"file:left"}},
		"left":{"version":"1.0.0"},
		"node_modules/left":{"resolved":"left","link":true}}}`)
	hour := time.Now().Add(-time.Hour)
	if err := os.Chtimes(lock, hour, hour); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() { npmtest.Install(t, dir) })
	}
	group.Wait()
	stamp := filepath.Join(dir, "node_modules", ".package-lock.json")
	first, err := os.Stat(stamp)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "left", "package.json")); err != nil {
		t.Error(err)
	}
	npmtest.Install(t, dir)
	if again, err := os.Stat(stamp); err != nil || !again.ModTime().Equal(first.ModTime()) {
		t.Errorf("installed again: %v, %v", again, err)
	}
	if err := os.Remove(stamp); err != nil { // as an install that was cut short leaves it
		t.Fatal(err)
	}
	npmtest.Install(t, dir)
	if _, err := os.Stat(stamp); err != nil {
		t.Errorf("an install that was cut short was taken for a whole one: %v", err)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
