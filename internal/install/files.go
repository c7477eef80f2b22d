package install

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rollcall/internal/disk"
)

// makeDir makes a directory that every user may search, whatever the umask is.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := makeParent(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755)
}

func makeParent(dir string) error {
	if up := filepath.Dir(dir); up != dir {
		return makeDir(up)
	}
	return nil
}

// replace puts a file with that text and mode in the place of name in one step.
func replace(name, text string, mode os.FileMode) error {
	return disk.ReplaceFile(name, mode, strings.NewReader(text))
}

// link puts a symbolic link to target at name in one step.
func (h *Host) link(target, name string) error {
	if err := makeParent(h.at(name)); err != nil {
		return err
	}
	temp := h.at(name) + ".tmp"
	_ = os.Remove(temp)
	if err := os.Symlink(target, temp); err != nil {
		return err
	}
	return os.Rename(temp, h.at(name))
}

// copyProgram copies the program into a directory of its version and returns that one's name.
func (h *Host) copyProgram(p Plan) (string, error) {
	from, err := os.Open(p.Program)
	if err != nil {
		return "", err
	}
	defer from.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, from); err != nil {
		return "", err
	}
	name := p.Version + "-" + hex.EncodeToString(sum.Sum(nil))[:12]
	dir := h.at(programs + "/" + name)
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	if err := makeDir(dir); err != nil {
		return "", err
	}
	if err := disk.ReplaceFile(filepath.Join(dir, "rollcall"), 0o755, from); err != nil {
		return "", fmt.Errorf("copy the program: %w", err)
	}
	now := time.Now()
	return name, os.Chtimes(dir, now, now)
}

// prune removes the oldest versions; now and before stay.
func (h *Host) prune(now, before string) error {
	entries, err := os.ReadDir(h.at(programs))
	if err != nil {
		return err
	}
	type version struct {
		name string
		at   time.Time
	}
	var others []version
	stay := kept - 1
	if before != "" && before != now {
		stay--
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.IsDir() && e.Name() != now && e.Name() != before {
			others = append(others, version{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(others, func(a, b version) int { return b.at.Compare(a.at) })
	for _, v := range others[min(stay, len(others)):] {
		if err := os.RemoveAll(h.at(programs + "/" + v.name)); err != nil {
			return err
		}
	}
	return nil
}
