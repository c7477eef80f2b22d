package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A state is what was installed before.
type state struct {
	Version string            // "" when nothing was
	Files   map[string]string // those that were there
}

// watched are the files that an installation writes, and their modes.
var watched = map[string]os.FileMode{env: 0o600, service: 0o644, program: 0o644, socket: 0o644, socketPort: 0o644, tlsSocket: 0o644}

// read returns the text of a file, "" when there is none.
func (h *Host) read(path string) (string, error) {
	b, err := os.ReadFile(h.at(path))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return string(b), err
}

func (h *Host) snapshot() (*state, error) {
	s := &state{Files: map[string]string{}}
	version, err := os.Readlink(h.at(current))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	s.Version = version
	for path := range watched {
		b, err := os.ReadFile(h.at(path))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		s.Files[path] = string(b)
	}
	return s, nil
}

// A note says on disk, from before anything is written until the end, what was installed before
// and what is written in its place.
type note struct {
	Before *state
	Wrote  map[string]string
}

func (h *Host) note(before *state, texts map[string]string) error {
	b, err := json.Marshal(note{before, texts})
	if err != nil {
		return err
	}
	return replace(h.at(unfinished), string(b), 0o600)
}

// begin returns what is installed. Where an installation was cut off its note stands: what that one
// wrote, ready or not, is taken back first; what was edited since stays as it is.
func (h *Host) begin(ctx context.Context) (before *state, resumed bool, err error) {
	text, err := h.read(unfinished)
	if err != nil {
		return nil, false, err
	}
	if before, err = h.snapshot(); err != nil || text == "" {
		return before, false, err
	}
	var cut note
	if err := json.Unmarshal([]byte(text), &cut); err != nil || cut.Before == nil {
		return nil, false, fmt.Errorf("%s is no note of an installation that was cut off; remove it", unfinished)
	}
	for path, wrote := range cut.Wrote {
		if before.Files[path] != wrote {
			continue
		}
		if was, there := cut.Before.Files[path]; there {
			before.Files[path] = was
		} else {
			delete(before.Files, path)
		}
	}
	before.Version = cut.Before.Version
	h.say("an installation was cut off before this one; what it had written is taken back")
	return before, true, h.restore(ctx, before)
}

func (h *Host) end() error { return remove(h.at(unfinished)) }

// goBack restores what was before and starts it; where there was nothing it stops what was started.
func (h *Host) goBack(ctx context.Context, before *state) error {
	after, err := h.sockets()
	if err != nil {
		return err
	}
	if before.Version == "" {
		return errors.Join(h.systemctl(ctx, "disable", "--now", "rollcall.socket", "rollcall.service"), h.restore(ctx, before), h.systemctl(ctx, "daemon-reload"))
	}
	if err := h.restore(ctx, before); err != nil {
		return err
	}
	return h.start(ctx, false, after)
}

// restore puts the program and the files of before in their places. A socket that was not there is
// closed while systemd still knows it.
func (h *Host) restore(ctx context.Context, before *state) (err error) {
	if _, was := before.Files[tlsSocket]; !was && h.has(tlsSocket) {
		if err := h.systemctl(ctx, "disable", "--now", "rollcall-tls.socket"); err != nil {
			return err
		}
	}
	if before.Version != "" {
		err = h.link(before.Version, current)
	} else {
		err = remove(h.at(current))
		if to, lerr := os.Readlink(h.at(command)); lerr == nil && to == current+"/rollcall" {
			err = errors.Join(err, remove(h.at(command)))
		}
	}
	for path, mode := range watched {
		if text, was := before.Files[path]; was {
			err = errors.Join(err, replace(h.at(path), text, mode))
		} else {
			err = errors.Join(err, remove(h.at(path)))
		}
	}
	return err
}

// remove removes a file that may be gone.
func remove(name string) error {
	err := os.Remove(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// A Failure is an installation that was taken back.
type Failure struct {
	Err     error
	Version string // the one that did not get ready
	Before  string // the one that runs again; "" when there was none
	Back    error  // why that one does not run either
	Journal string // the last lines of the log
}

func (f *Failure) Error() string {
	text := fmt.Sprintf("%s did not start: %v", f.Version, f.Err)
	switch {
	case f.Back != nil:
		text += fmt.Sprintf("; going back failed too: %v", f.Back)
	case f.Before != "":
		text += fmt.Sprintf("; %s runs as before, with the settings of before", f.Before)
	default:
		text += "; it was removed"
	}
	return text
}

func (f *Failure) Unwrap() error { return f.Err }

func (h *Host) systemctl(ctx context.Context, args ...string) error {
	return h.run(ctx, h.Systemctl, args...)
}

// run runs a command; its error has what the command printed.
func (h *Host) run(ctx context.Context, name string, args ...string) error {
	c := exec.CommandContext(ctx, name, args...)
	c.WaitDelay = time.Second
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		text := strings.TrimSpace(out.String())
		if text == "" {
			text = err.Error()
		}
		return fmt.Errorf("%s %s: %s", name, strings.Join(args, " "), text)
	}
	return nil
}

// journal returns the last lines of the service's log.
func (h *Host) journal(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	b, _ := exec.CommandContext(ctx, h.Journalctl, "-u", "rollcall", "-n", "20", "--no-pager", "-o", "cat").Output()
	return strings.TrimSpace(string(b))
}
