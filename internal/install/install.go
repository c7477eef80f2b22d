// Package install puts the running program on this machine as a service of systemd, takes a newer
// one in its place, goes back to the one before when the new one does not get ready, and removes
// it.
package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"rollcall/deploy"
	"rollcall/internal/disk"
)

// Places of the installation, below the root directory.
const (
	programs   = "/opt/rollcall"
	current    = programs + "/current"
	command    = "/usr/local/bin/rollcall"
	settings   = "/etc/rollcall"
	env        = settings + "/rollcall.env"
	file       = settings + "/rollcall.yaml"
	data       = "/var/lib/rollcall"
	packaged   = "/lib/systemd/system/rollcall.service"
	private    = "/var/lib/private/rollcall"
	units      = "/etc/systemd/system"
	service    = units + "/rollcall.service"
	program    = service + ".d/install.conf"
	socket     = units + "/rollcall.socket"
	socketPort = socket + ".d/port.conf"
	tlsSocket  = units + "/rollcall-tls.socket"
	unfinished = programs + "/unfinished"
)

// kept is how many versions of the program stay, the current one among them.
const kept = 3

// ErrBusy: another installation or removal is under way.
var ErrBusy = errors.New("another installation is under way on this machine")

// ErrPackaged: the Debian package is installed, which has its own way to be upgraded and removed.
var ErrPackaged = errors.New("the Debian package of rollcall is installed here; upgrade and remove it by apt or dpkg")

// A Host is the machine to install on.
type Host struct {
	Root       string // the directory that stands for /
	Systemctl  string // the command
	Journalctl string // the command
	Out        io.Writer
	Within     time.Duration // how long a new version may take until it is ready
}

// A Plan is what to install.
type Plan struct {
	Program string // the file to copy
	Version string
	Env     []Variable
	Port    int      // of the socket; 0 leaves it as it is
	Domains []string // served on port 443, with certificates by ACME; none: as before
}

func (h *Host) at(path string) string { return filepath.Join(h.Root, path) }

func (h *Host) say(format string, args ...any) { fmt.Fprintf(h.Out, format+"\n", args...) }

// lock keeps a second installation out until the function that it returns is called.
func (h *Host) lock() (func(), error) {
	if err := makeDir(h.at(programs)); err != nil {
		return nil, err
	}
	l, err := disk.OS{}.Lock(h.at(programs + "/lock"))
	if errors.Is(err, disk.ErrInUse) {
		return nil, ErrBusy
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = l.Close() }, nil
}

// Install installs what p says and waits until it is ready. When it does not get ready, or ctx ends
// first, everything is as it was before, and the error says why.
func (h *Host) Install(ctx context.Context, p Plan) error {
	if _, err := os.Stat(h.at(packaged)); err == nil {
		return ErrPackaged
	}
	unlock, err := h.lock()
	if err != nil {
		return err
	}
	defer unlock()
	name, err := h.copyProgram(p)
	if err != nil {
		return err
	}
	before, resumed, err := h.begin(ctx)
	if err != nil {
		return err
	}
	if before.Version == "" && p.Port == 0 && len(p.Domains) > 0 {
		p.Port = 80
	}
	open, err := h.sockets()
	if err != nil {
		return err
	}
	texts, err := h.wanted(p)
	if err != nil {
		return err
	}
	if err := h.note(before, texts); err != nil {
		return err
	}
	if err = h.write(texts, name); err == nil {
		err = h.start(ctx, resumed, open)
	}
	if err != nil {
		last := h.journal(ctx)
		back := h.goBack(context.WithoutCancel(ctx), before)
		if back == nil {
			back = h.end()
		}
		if before.Version != name {
			_ = os.RemoveAll(h.at(programs + "/" + name))
		}
		return &Failure{Err: err, Version: name, Before: before.Version, Back: back, Journal: last}
	}
	if err := h.end(); err != nil {
		return err
	}
	if err := h.prune(name, before.Version); err != nil {
		return err
	}
	h.report(name, before.Version)
	return nil
}

// report says what is installed.
func (h *Host) report(name, before string) {
	h.say("installed  %s/%s", programs, name)
	if before != "" && before != name {
		h.say("before     %s/%s", programs, before)
	}
	h.say("apps       port %s", h.port())
	if text, _ := h.read(env); h.has(tlsSocket) {
		h.say("https      port 443, for %s", valueOf(text, domains))
	}
	h.say("settings   %s, %s", file, env)
	h.say("state      %s", data)
}

// domains is the variable of the names that certificates are obtained for.
const domains = "ROLLCALL_TLS_DOMAINS"

// wanted returns the texts of the watched files as p has them.
func (h *Host) wanted(p Plan) (map[string]string, error) {
	old, err := h.read(env)
	if err != nil {
		return nil, err
	}
	texts := map[string]string{service: deploy.Service, socket: deploy.Socket, program: execStart()}
	given := p.Env
	if p.Port != 0 {
		given = append(given[:len(given):len(given)], Variable{"ROLLCALL_LISTEN", ":" + strconv.Itoa(p.Port)})
		texts[socketPort] = fmt.Sprintf("[Socket]\nListenStream=\nListenStream=%d\n", p.Port)
	}
	if len(p.Domains) > 0 {
		given = append(given[:len(given):len(given)], Variable{"ROLLCALL_LISTEN_TLS", ":443"}, Variable{domains, strings.Join(p.Domains, ",")})
	}
	if len(p.Domains) > 0 || h.has(tlsSocket) {
		texts[tlsSocket] = deploy.TLSSocket
	}
	texts[env] = merged(old, given)
	return texts, nil
}

// write puts the files in their places, and the program of that name in force.
func (h *Host) write(texts map[string]string, name string) error {
	for path, text := range texts {
		if err := makeParent(h.at(path)); err != nil {
			return err
		}
		if err := replace(h.at(path), text, watched[path]); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(h.at(file)); errors.Is(err, os.ErrNotExist) {
		if err := replace(h.at(file), deploy.Settings, 0o644); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(h.at(command)); errors.Is(err, os.ErrNotExist) {
		if err := h.link(current+"/rollcall", command); err != nil {
			return err
		}
	}
	return h.link(name, current)
}

// port returns the port of the socket, which the last ListenStream= names.
func (h *Host) port() string {
	text, _ := h.read(socketPort)
	port := ""
	for l := range strings.Lines(deploy.Socket + text) {
		if value, ok := strings.CutPrefix(l, "ListenStream="); ok {
			port = strings.TrimSpace(value)
		}
	}
	return port
}

// has reports whether there is a file.
func (h *Host) has(path string) bool {
	_, err := os.Lstat(h.at(path))
	return err == nil
}

// socketUnits are the names of the sockets that are installed.
func (h *Host) socketUnits() []string {
	if h.has(tlsSocket) {
		return []string{"rollcall.socket", "rollcall-tls.socket"}
	}
	return []string{"rollcall.socket"}
}

// sockets describes what is open of them: it differs when they have to be opened anew.
func (h *Host) sockets() (string, error) {
	port, err := h.read(socketPort)
	return strings.Join(h.socketUnits(), " ") + "\n" + port, err
}

// execStart is the drop-in by which the unit runs the program of [current].
func execStart() string {
	line := ""
	for l := range strings.Lines(deploy.Service) {
		if strings.HasPrefix(l, "ExecStart=") {
			_, args, _ := strings.Cut(l, " ")
			line = "ExecStart=" + current + "/rollcall " + args
		}
	}
	return "[Service]\nExecStart=\n" + line
}

// start has systemd run what is installed and waits until it is ready. The sockets are opened anew
// where they are not known to be those of now: after an installation that was cut off, and when
// open, what [Host.sockets] said before, is another.
func (h *Host) start(ctx context.Context, resumed bool, open string) error {
	ctx, cancel := context.WithTimeout(ctx, h.Within)
	defer cancel()
	names := h.socketUnits()
	with := func(command string, before ...string) []string {
		return append(append([]string{command}, before...), names...)
	}
	steps := [][]string{{"daemon-reload"}, append(with("enable"), "rollcall.service")}
	if now, err := h.sockets(); err != nil {
		return err
	} else if resumed || now != open {
		steps = append(steps, with("stop", "rollcall.service"))
	}
	steps = append(steps, with("start"), []string{"restart", "rollcall.service"})
	for _, args := range steps {
		if err := h.systemctl(ctx, args...); err != nil {
			return h.late(ctx, err)
		}
	}
	for {
		err := h.run(ctx, h.at(current+"/rollcall"), "status", "--check", "--data", h.at(data))
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return h.late(ctx, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// late returns err, or that the time is over where that is why.
func (h *Host) late(ctx context.Context, err error) error {
	switch context.Cause(ctx) {
	case nil:
		return err
	case context.DeadlineExceeded:
		return fmt.Errorf("not ready within %v", h.Within)
	}
	return errors.New("interrupted")
}

// Uninstall stops the service and removes the program; with purge also the settings and all state.
func (h *Host) Uninstall(ctx context.Context, purge bool) error {
	if _, err := os.Stat(h.at(packaged)); err == nil && purge {
		return ErrPackaged
	}
	if _, err := os.Lstat(h.at(program)); errors.Is(err, os.ErrNotExist) && !purge {
		return errors.New("rollcall is not installed here by rollcall install")
	}
	unlock, err := h.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Lstat(h.at(service)); err == nil {
		if err := h.systemctl(ctx, append([]string{"disable", "--now", "rollcall.service"}, h.socketUnits()...)...); err != nil {
			return err
		}
	}
	if to, err := os.Readlink(h.at(command)); err == nil && to == current+"/rollcall" {
		if err := os.Remove(h.at(command)); err != nil {
			return err
		}
	}
	gone := []string{service + ".d", service, socket + ".d", socket, tlsSocket, programs}
	if purge {
		gone = append(gone, settings, private, data)
	}
	for _, path := range gone {
		if err := os.RemoveAll(h.at(path)); err != nil {
			return err
		}
	}
	if err := h.systemctl(ctx, "daemon-reload"); err != nil {
		return err
	}
	if purge {
		h.say("removed with its settings and all state")
	} else {
		h.say("removed; %s and %s stay", settings, data)
	}
	return nil
}
