package running_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"rollcall/internal/running"
)

func TestTheFileSaysWhereTheServerListens(t *testing.T) {
	dir := t.TempDir()
	want := running.Server{PID: 7, Listen: "127.0.0.1:3000", Admin: "127.0.0.1:3001"}
	if err := running.Write(dir, want); err != nil {
		t.Fatal(err)
	}
	if got, err := running.Read(dir); got != want || err != nil {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	running.Remove(dir)
	if _, err := running.Read(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after its removal: %v", err)
	}
}

func TestATornFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, running.Name), []byte(`{"pid":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := running.Read(dir); err == nil {
		t.Errorf("got %+v", got)
	}
}

func TestAFileThatCannotBeWrittenIsAnError(t *testing.T) {
	if err := running.Write(filepath.Join(t.TempDir(), "nowhere"), running.Server{}); err == nil {
		t.Error("a directory that is not there took the file")
	}
}
