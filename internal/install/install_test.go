//go:build linux

package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/deploy"
)

// systemctl stands in for systemd: "restart" runs the program that the drop-in names, with the
// environment file, and fails when the program does.
const systemctl = `#!/bin/sh
root=ROOT
echo "$*" >>$root/calls
case $1 in
restart)
	rm -f $root/running
	line=$(sed -n 's/^ExecStart=//p' $root/etc/systemd/system/rollcall.service.d/install.conf | tail -n 1)
	. $root/etc/rollcall/rollcall.env
	export ROLLCALL_LISTEN
	exec $root$line ;;
disable) rm -f $root/running ;;
esac
`

// aProgram is a server that is ready as soon as it starts, unless its settings or itself are
// broken.
const aProgram = `#!/bin/sh
# NAME
case $1 in
serve) [ NAME != broken ] && [ "$ROLLCALL_LISTEN" != nowhere ] && echo NAME >ROOT/running ;;
status) [ NAME != slow ] && [ "$(cat ROOT/running 2>/dev/null)" = NAME ] ;;
esac
`

type machine struct {
	*Host
	t   *testing.T
	out strings.Builder
}

func newMachine(t *testing.T) *machine {
	m := &machine{t: t}
	root := t.TempDir()
	m.Host = &Host{Root: root, Systemctl: filepath.Join(root, "systemctl"), Journalctl: filepath.Join(root, "journalctl"), Out: &m.out, Within: time.Minute}
	m.script("systemctl", systemctl)
	m.script("journalctl", "#!/bin/sh\necho the last lines\n")
	return m
}

func (m *machine) script(name, text string) string {
	m.t.Helper()
	file := filepath.Join(m.Root, name)
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "ROOT", m.Root)), 0o700); err != nil {
		m.t.Fatal(err)
	}
	return file
}

func (m *machine) install(name string, port int, env ...Variable) error {
	m.t.Helper()
	file := m.script("new", strings.ReplaceAll(aProgram, "NAME", name))
	return m.Install(context.Background(), Plan{Program: file, Version: name, Env: env, Port: port})
}

func (m *machine) text(path string) string {
	m.t.Helper()
	b, err := os.ReadFile(m.at(path))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b)
}

// runs checks which version runs, and that it is the current one.
func (m *machine) runs(name string) {
	m.t.Helper()
	if got := strings.TrimSpace(m.text("running")); got != name {
		m.t.Errorf("%q runs, not %q", got, name)
	}
	to, err := os.Readlink(m.at(current))
	if err != nil || !strings.HasPrefix(to, name+"-") {
		m.t.Errorf("current leads to %q (%v), not to %q", to, err, name)
	}
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func TestInstallAndUpgrade(t *testing.T) {
	m := newMachine(t)
	m.must(m.install("one", 0, Variable{"ROLLCALL_APP_KEY", `a "key" with $1 and \`}))
	m.runs("one")
	st, err := os.Stat(m.at(env))
	m.must(err)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("the environment file has mode %v", st.Mode())
	}
	m.must(m.install("two", 8080, Variable{"ROLLCALL_STORE", "redis://h"}))
	m.runs("two")
	want := envHead + `ROLLCALL_APP_KEY="a \"key\" with \$1 and \\"` + "\n" + `ROLLCALL_STORE="redis://h"` + "\n" + `ROLLCALL_LISTEN=":8080"` + "\n"
	if got := m.text(env); got != want {
		t.Errorf("the environment file is\n%s, not\n%s", got, want)
	}
	if got := m.text(socketPort); !strings.HasSuffix(got, "ListenStream=\nListenStream=8080\n") {
		t.Errorf("the socket has %q", got)
	}
	if m.has(tlsSocket) || strings.Contains(m.text("calls"), "rollcall-tls") {
		t.Error("port 443 is opened, though no domain was named")
	}
	if calls := m.text("calls"); strings.Count(calls, "stop rollcall.service rollcall.socket") != 1 {
		t.Errorf("a change of the port stops the socket once; systemctl was called with\n%s", calls)
	}
	for i := range 4 {
		m.must(m.install(fmt.Sprintf("v%d", i), 0))
	}
	versions, err := filepath.Glob(m.at(programs + "/*-*"))
	m.must(err)
	if len(versions) != kept {
		t.Errorf("%d versions are kept: %v", len(versions), versions)
	}
}

func TestInstallForADomain(t *testing.T) {
	m := newMachine(t)
	named := func(version string, names ...string) error {
		return m.Install(context.Background(), Plan{Program: m.script("new", strings.ReplaceAll(aProgram, "NAME", version)), Version: version, Domains: names})
	}
	https := envHead + "ROLLCALL_LISTEN=\":%s\"\nROLLCALL_LISTEN_TLS=\":443\"\nROLLCALL_TLS_DOMAINS=\"%s\"\n"
	m.must(named("one", "im.example.com", "rt.example.com"))
	m.runs("one")
	if got, want := m.text(env), fmt.Sprintf(https, "80", "im.example.com,rt.example.com"); got != want {
		t.Errorf("the environment file is\n%s, not\n%s", got, want)
	}
	if got := m.text(tlsSocket); got != deploy.TLSSocket || !strings.Contains(got, "ListenStream=443\nFileDescriptorName=listen_tls\nService=rollcall.service\n") {
		t.Errorf("the socket is\n%s", got)
	}
	if out := m.out.String(); !strings.Contains(out, "apps       port 80\n") || !strings.Contains(out, "https      port 443, for im.example.com,rt.example.com\n") {
		t.Errorf("printed\n%s", out)
	}
	for _, call := range []string{"enable rollcall.socket rollcall-tls.socket rollcall.service\n", "start rollcall.socket rollcall-tls.socket\n"} {
		if calls := m.text("calls"); !strings.Contains(calls, call) {
			t.Errorf("systemctl was called with\n%s", calls)
		}
	}

	m.must(os.Remove(m.at("calls")))
	m.must(named("two")) // as it is
	m.runs("two")
	if calls := m.text("calls"); !strings.Contains(calls, "start rollcall.socket rollcall-tls.socket\n") || strings.Contains(calls, "stop ") {
		t.Errorf("an upgrade closes the sockets or forgets one; systemctl was called with\n%s", calls)
	}

	m.must(m.Uninstall(context.Background(), false))
	if m.has(tlsSocket) || !strings.Contains(m.text("calls"), "disable --now rollcall.service rollcall.socket rollcall-tls.socket\n") {
		t.Errorf("port 443 stays; systemctl was called with\n%s", m.text("calls"))
	}

	m = newMachine(t)
	m.must(m.install("one", 0))
	before := m.text(env)
	if err := named("broken", "im.example.com"); err == nil {
		t.Fatal("a program that does not start was installed")
	}
	m.runs("one")
	if m.text(env) != before || m.has(tlsSocket) || !strings.Contains(m.text("calls"), "disable --now rollcall-tls.socket\n") {
		t.Errorf("a domain stays that was taken back; systemctl was called with\n%s", m.text("calls"))
	}
	m.must(named("three", "im.example.com"))
	if got := m.port(); got != "3000" {
		t.Errorf("a domain moves apps from port 3000 to %s", got)
	}
}

func TestAVersionThatDoesNotGetReadyIsTakenBack(t *testing.T) {
	for _, name := range []string{"broken", "slow", "misconfigured"} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.must(m.install("one", 3100, Variable{"ROLLCALL_STORE", "redis://h"}))
			before := m.text(env)
			if name == "slow" {
				m.Within = 3 * time.Second
			}
			var err error
			if name == "misconfigured" {
				err = m.install(name, 0, Variable{"ROLLCALL_LISTEN", "nowhere"})
			} else {
				err = m.install(name, 3200, Variable{"ROLLCALL_STORE", "redis://other"})
			}
			var failed *Failure
			if !errors.As(err, &failed) || failed.Back != nil || failed.Journal != "the last lines" {
				t.Fatalf("the installation ended with %v", err)
			}
			m.runs("one")
			if got := m.text(env); got != before {
				t.Errorf("the environment file is now\n%s", got)
			}
			if got := m.text(socketPort); !strings.Contains(got, "3100") {
				t.Errorf("the socket has %q", got)
			}
			if left, _ := filepath.Glob(m.at(programs + "/" + name + "-*")); len(left) > 0 {
				t.Errorf("%v was left", left)
			}
		})
	}
}

func TestAFirstInstallationThatFailsLeavesNoUnit(t *testing.T) {
	m := newMachine(t)
	if err := m.install("broken", 0); err == nil {
		t.Fatal("a program that does not start was installed")
	}
	for _, path := range []string{service, socket, program, env, current, command} {
		if _, err := os.Lstat(m.at(path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was left (%v)", path, err)
		}
	}
}

func TestAnInterruptedUpgradeIsTakenBack(t *testing.T) {
	m := newMachine(t)
	m.must(m.install("one", 0))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	file := m.script("new", strings.ReplaceAll(aProgram, "NAME", "two"))
	if err := m.Install(ctx, Plan{Program: file, Version: "two"}); err == nil {
		t.Error("an interrupted installation reports success")
	}
	m.runs("one")
}

func TestTwoInstallationsAtOnce(t *testing.T) {
	m := newMachine(t)
	unlock, err := m.lock()
	m.must(err)
	if err := m.install("one", 0); !errors.Is(err, ErrBusy) {
		t.Errorf("the second one ends with %v", err)
	}
	unlock()
	m.must(m.install("one", 0))
}

func TestThePackageIsLeftAlone(t *testing.T) {
	m := newMachine(t)
	m.must(os.MkdirAll(filepath.Dir(m.at(packaged)), 0o755))
	m.must(os.WriteFile(m.at(packaged), nil, 0o644))
	if err := m.install("one", 0); !errors.Is(err, ErrPackaged) {
		t.Errorf("installing beside the package ends with %v", err)
	}
	if err := m.Uninstall(context.Background(), true); !errors.Is(err, ErrPackaged) {
		t.Errorf("purging the package's state ends with %v", err)
	}
}

func TestUninstall(t *testing.T) {
	m := newMachine(t)
	if err := m.Uninstall(context.Background(), false); err == nil {
		t.Error("what is not installed was removed")
	}
	m.must(m.install("one", 8080))
	m.must(os.MkdirAll(m.at(data), 0o700))
	m.must(m.Uninstall(context.Background(), false))
	for _, path := range []string{service, socket, socketPort, programs, command} {
		if _, err := os.Lstat(m.at(path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was left (%v)", path, err)
		}
	}
	m.text(env)
	m.must(m.install("two", 0))
	m.must(m.Uninstall(context.Background(), true))
	for _, path := range []string{settings, data} {
		if _, err := os.Lstat(m.at(path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s was left (%v)", path, err)
		}
	}
}

func TestSystemdReadsTheUnits(t *testing.T) {
	m := newMachine(t)
	m.must(m.Install(context.Background(), Plan{
		Program: m.script("new", strings.ReplaceAll(aProgram, "NAME", "one")), Version: "one", Port: 8080, Domains: []string{"im.example.com"},
	}))
	verify := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", "--root="+m.Root, m.at(service), m.at(socket), m.at(tlsSocket))
	if b, err := verify.CombinedOutput(); err != nil || strings.Contains(string(b), "rollcall") {
		t.Errorf("systemd-analyze: %v\n%s", err, b)
	}
	b, err := exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", m.at(service)).CombinedOutput()
	exposure := regexp.MustCompile(`exposure level for rollcall.service: ([0-9.]+)`).FindSubmatch(b)
	if exposure == nil {
		t.Fatalf("systemd-analyze security: %v\n%s", err, b)
	}
	if level, err := strconv.ParseFloat(string(exposure[1]), 64); err != nil || level > 2 {
		t.Errorf("the exposure of the unit is %s", exposure[1])
	}
}

func TestReadEnv(t *testing.T) {
	found, err := ReadEnv(strings.NewReader("# keys\n\nLEANCLOUD_APP_ID=an=id\nROLLCALL_STORE=\n"))
	if err != nil || len(found) != 2 || found[0] != (Variable{"LEANCLOUD_APP_ID", "an=id"}) || found[1] != (Variable{"ROLLCALL_STORE", ""}) {
		t.Errorf("read %v, %v", found, err)
	}
	for _, line := range []string{"secret", "PATH=secret", "ROLLCALL_=secret", "export ROLLCALL_A=secret", "ROLLCALL_A=secret\x00"} {
		if _, err := ReadEnv(strings.NewReader("\n" + line)); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", line, err)
		}
	}
	if _, err := ReadEnv(io.MultiReader(strings.NewReader("ROLLCALL_A="), strings.NewReader(strings.Repeat("x", 1<<20)))); err == nil {
		t.Error("a line without an end is read")
	}
}
