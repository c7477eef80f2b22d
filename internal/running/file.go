// Package running is the file in a data directory by which other commands find the server that has
// it open.
package running

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"rollcall/internal/disk"
)

// Name is the file's name. It is there while the server is; after a crash it is left behind.
const Name = "running.json"

// A Server says where a server listens.
type Server struct {
	PID    int    `json:"pid"`
	Listen string `json:"listen"`
	Admin  string `json:"admin"`
}

// Write puts the file of s into dir. When it cannot, that of an earlier server is gone too: it
// would lead astray.
func Write(dir string, s Server) error {
	b, err := json.Marshal(s)
	if err == nil {
		err = disk.WriteFile(disk.OS{}, filepath.Join(dir, Name), append(b, '\n'))
	}
	if err != nil {
		Remove(dir)
	}
	return err
}

// Remove removes the file from dir.
func Remove(dir string) { _ = os.Remove(filepath.Join(dir, Name)) }

// Read returns what the file in dir says.
func Read(dir string) (s Server, err error) {
	b, err := os.ReadFile(filepath.Join(dir, Name))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%s: %w", Name, err)
	}
	return s, nil
}
