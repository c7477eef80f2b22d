package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"rollcall/internal/install"
	"rollcall/server"
	"rollcall/server/config"
)

type deployCmd struct {
	To     string   `arg:"" name:"[user@]host" help:"The server, as ssh takes it."`
	Port   int      `placeholder:"PORT" help:"Port of the app listener; default as before, at first 3000."`
	Domain []string `placeholder:"NAME" sep:"none" help:"Serve https and wss for NAME on port 443, with certificates by ACME; repeatable. With it, apps have port 80 at first."`
	Binary string   `placeholder:"FILE" help:"The program to copy; default this one, when it runs on the server's platform."`
	DryRun bool     `help:"Print what would be run, with secrets struck; connect to nothing."`
}

// Help is shown below the flags.
func (deployCmd) Help() string {
	return `Copies this program to a server by the system's ssh and runs "rollcall install" there, as root or by sudo without a password. ` +
		`The keys of an app and ROLLCALL_... settings of this environment go along, on standard input. ` +
		`Run again it is the upgrade; a version that is not ready within 30 seconds is taken back. An installation that has begun goes on when this command is interrupted.`
}

// The commands on the server. probe prints the system, the user and the free space; upload keeps
// what it reads and prints in which directory.
const (
	probe  = `uname -sm && id -u && df -Pk / | tail -n 1`
	upload = `umask 077 && d=$(mktemp -d "$HOME/.rollcall-XXXXXXXX") && cat >"$d/rollcall" && chmod 700 "$d/rollcall" && echo "$d"`
)

// leastSpace is the free space that an installation wants, in KiB.
const leastSpace = 100 << 10

// remoteInstall returns the command that installs what lies in dir.
func (c *deployCmd) remoteInstall(dir, sudo string) string {
	command := "trap '' HUP INT PIPE; trap 'rm -rf " + dir + "' EXIT; " + sudo + dir + "/rollcall install --env-stdin"
	if c.Port != 0 {
		command += " --port=" + strconv.Itoa(c.Port)
	}
	for _, name := range c.Domain {
		command += " --domain=" + name
	}
	return command
}

// carried are the variables that go along.
var carried = regexp.MustCompile(`^(LEANCLOUD_APP_(ID|KEY|MASTER_KEY|HOOK_KEY|ANDX_KEY)(_OLD)?|ROLLCALL_[A-Za-z0-9_]+)$`)

// local are those that stay: addresses, directories and files of this machine.
var local = []string{
	"ROLLCALL_CONFIG", "ROLLCALL_DATA", "ROLLCALL_LISTEN", "ROLLCALL_LISTEN_TLS", "ROLLCALL_ADMIN", "ROLLCALL_TLS_CERT", "ROLLCALL_TLS_KEY",
	"ROLLCALL_TLS_ACME_CA", "ROLLCALL_TLS_ACME_LISTEN",
}

// carriedFrom returns the variables of environ that go along, and the names of those that stay.
func carriedFrom(environ []string) (found []install.Variable, stay []string) {
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		switch {
		case !carried.MatchString(name):
		case slices.Contains(local, name):
			stay = append(stay, name)
		default:
			found = append(found, install.Variable{Name: name, Value: value})
		}
	}
	return found, stay
}

// Run deploys to the server.
func (c *deployCmd) Run(e *env) error {
	if c.Port < 0 || c.Port > 65535 {
		fmt.Fprintf(e.stderr, "rollcall: --port: %d is no port\n", c.Port)
		return errMisused
	}
	if strings.HasPrefix(c.To, "-") || strings.TrimSpace(c.To) == "" {
		fmt.Fprintf(e.stderr, "rollcall: %q is no server\n", c.To)
		return errMisused
	}
	if !checkDomains(e, c.Domain) {
		return errMisused
	}
	var lines strings.Builder
	variables, stay := carriedFrom(e.environ)
	for _, v := range variables {
		fmt.Fprintf(&lines, "%s=%s\n", v.Name, v.Value)
	}
	if _, err := install.ReadEnv(strings.NewReader(lines.String())); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	if len(stay) > 0 {
		fmt.Fprintf(e.stderr, "rollcall: %s stay here, as addresses and places of this machine; the server's are in /etc/rollcall/rollcall.yaml, its port is --port\n",
			strings.Join(stay, ", "))
	}
	if c.DryRun {
		return c.print(e, variables)
	}
	sudo, err := c.probe(e)
	if err != nil {
		return err
	}
	dir, err := c.upload(e)
	if err != nil {
		return err
	}
	var printed bytes.Buffer
	fmt.Fprintf(e.stderr, "rollcall: installing on %s, with %d variables of this environment\n", c.To, len(variables))
	if err := c.ssh(e, c.remoteInstall(dir, sudo), strings.NewReader(lines.String()), io.MultiWriter(e.stdout, &printed)); err != nil {
		return err
	}
	c.goOn(e, variables, printed.String())
	return nil
}

// ssh runs a command on the server.
func (c *deployCmd) ssh(e *env, command string, stdin io.Reader, stdout io.Writer) error {
	s := exec.CommandContext(e.ctx, "ssh", "-T", "--", c.To, command)
	s.Stdin, s.Stdout, s.Stderr = stdin, stdout, e.stderr
	err := s.Run()
	var ended *exec.ExitError
	switch {
	case e.ctx.Err() != nil:
		return errors.New("interrupted; an installation that had begun goes on")
	case errors.As(err, &ended) && ended.ExitCode() == 255:
		return &config.Hinted{Err: fmt.Errorf("ssh to %s failed", c.To), Hint: "\"ssh " + c.To + "\" must work by itself"}
	case errors.As(err, &ended):
		return fmt.Errorf("the command on %s ended with %d", c.To, ended.ExitCode())
	}
	return err
}

// probe checks that the server can run the program and returns what makes this user root there.
func (c *deployCmd) probe(e *env) (sudo string, err error) {
	var out bytes.Buffer
	if err := c.ssh(e, probe, strings.NewReader(""), &out); err != nil {
		return "", err
	}
	f := strings.Fields(out.String())
	if len(f) < 7 {
		return "", fmt.Errorf("%s answered %q to %q", c.To, out.String(), probe)
	}
	arch := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[f[1]]
	if f[0] != "Linux" || arch == "" {
		return "", fmt.Errorf("%s is %s on %s; rollcall is installed on Linux, on x86_64 or aarch64", c.To, f[0], f[1])
	}
	if c.Binary == "" && (runtime.GOOS != "linux" || runtime.GOARCH != arch) {
		release := server.BuildVersion().Release
		return "", &config.Hinted{
			Err:  fmt.Errorf("%s is linux/%s, and this program is for %s/%s", c.To, arch, runtime.GOOS, runtime.GOARCH),
			Hint: fmt.Sprintf("unpack rollcall-%s-linux-%s.tar.gz of that release (make dist builds it) and name its program with --binary", release, arch),
		}
	}
	if free, err := strconv.Atoi(f[6]); err == nil && free < leastSpace {
		return "", fmt.Errorf("%s has %d MiB free; an installation wants %d", c.To, free>>10, leastSpace>>10)
	}
	if f[2] != "0" {
		sudo = "sudo -n "
	}
	return sudo, nil
}

var uploaded = regexp.MustCompile(`^/[A-Za-z0-9_./-]+$`)

// upload copies the program and returns the directory where it lies.
func (c *deployCmd) upload(e *env) (string, error) {
	name := c.Binary
	if name == "" {
		var err error
		if name, err = os.Executable(); err != nil {
			return "", err
		}
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	fmt.Fprintf(e.stderr, "rollcall: copying the program to %s\n", c.To)
	var out bytes.Buffer
	if err := c.ssh(e, upload, f, &out); err != nil {
		return "", err
	}
	dir := strings.TrimSpace(out.String())
	if !uploaded.MatchString(dir) {
		return "", fmt.Errorf("%s keeps the program in %q, which is no plain path", c.To, dir)
	}
	return dir, nil
}

// print writes what would be run.
func (c *deployCmd) print(e *env, variables []install.Variable) error {
	name := c.Binary
	if name == "" {
		name = "rollcall"
	}
	to := quote(c.To)
	var out strings.Builder
	fmt.Fprintf(&out, "ssh -T -- %s %s\n", to, quote(probe))
	fmt.Fprintf(&out, "ssh -T -- %s %s <%s   # prints DIR\n", to, quote(upload), quote(name))
	fmt.Fprintf(&out, "ssh -T -- %s %s <<'END'   # without sudo as root\n", to, quote(c.remoteInstall("DIR", "sudo -n ")))
	for _, v := range variables {
		fmt.Fprintf(&out, "%s=***\n", v.Name)
	}
	out.WriteString("END\n")
	_, err := io.WriteString(e.stdout, out.String())
	return err
}

var printedPort = regexp.MustCompile(`(?m)^apps +port (\d+)$`)

// goOn prints what to do next, for the port that the installation printed.
func (c *deployCmd) goOn(e *env, variables []install.Variable, printed string) {
	port := "3000"
	if m := printedPort.FindStringSubmatch(printed); m != nil {
		port = m[1]
	}
	base := ""
	if len(c.Domain) > 0 {
		base = "https://" + c.Domain[0]
		fmt.Fprintf(e.stdout, "\nThe certificate is obtained now; \"certificate obtained\" or \"certificate order failed\" in the log says what came of it:\n\n  rollcall logs --host %s\n", c.To)
	} else {
		base = "http://" + net.JoinHostPort(c.To[strings.LastIndex(c.To, "@")+1:], port)
	}
	given := map[string]bool{}
	for _, v := range variables {
		given[v.Name] = true
	}
	for _, family := range []struct{ id, key, hook string }{
		{"ROLLCALL_APP_ID", "ROLLCALL_APP_KEY", "ROLLCALL_HOOK_KEY"},
		{"LEANCLOUD_APP_ID", "LEANCLOUD_APP_KEY", "LEANCLOUD_APP_HOOK_KEY"},
	} {
		if given[family.id] && given[family.key] && given[family.hook] {
			lines(e.stdout, base, "", "$"+family.id, "$"+family.key, "$"+family.hook)
			return
		}
	}
	fmt.Fprintf(e.stdout, "\nApps reach it at %s. When no app is configured, its keys are on the server, in /var/lib/rollcall/keys.env.\n", base)
}
