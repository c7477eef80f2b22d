//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sshHome has the ssh of this test reach a real sshd, which serves a session through a pipe and has
// keys and a configuration of its own, and returns the home directory on its side.
func sshHome(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	home := filepath.Join(dir, "home")
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	// The directory of its unprivileged part, which the service makes at boot.
	if os.Geteuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"host", "user"} {
		if b, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, b)
		}
	}
	sshd := write("sshd_config", fmt.Sprintf("HostKey %[1]s/host\nAuthorizedKeysFile %[1]s/user.pub\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"+
		"PidFile none\nSetEnv HOME=%[1]s/home PATH=%[1]s/bin:/usr/bin:/bin\n", dir), 0o600)
	config := write("ssh_config", fmt.Sprintf("Host *\nProxyCommand /usr/sbin/sshd -i -f %[2]s\nIdentityFile %[1]s/user\nIdentitiesOnly yes\nBatchMode yes\n"+
		"UserKnownHostsFile %[1]s/known\nGlobalKnownHostsFile none\nStrictHostKeyChecking accept-new\nLogLevel ERROR\n", dir, sshd), 0o600)
	real, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	write("bin/ssh", fmt.Sprintf("#!/bin/sh\necho \"$*\" >>%s/argv\nexec %s -F %s \"$@\"\n", dir, real, config), 0o700)
	// Where the tests are not run by root.
	write("bin/sudo", "#!/bin/sh\nshift\nexec \"$@\"\n", 0o700)
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return home
}

// installer stands for the program: it keeps what it is given, and installs nothing.
const installer = `#!/bin/sh
echo "$*" >HOME/args
cat >HOME/stdin
echo "apps       port 8443"
exit CODE
`

func deployed(t *testing.T, home, code string, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "installer")
	if err := os.WriteFile(file, []byte(strings.NewReplacer("HOME", home, "CODE", code).Replace(installer)), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := []string{
		"LEANCLOUD_APP_ID=the-app", "LEANCLOUD_APP_KEY=secret-1", "LEANCLOUD_APP_HOOK_KEY=secret-2", "LEANCLOUD_APP_PORT=3000",
		"ROLLCALL_STORE=redis://:secret-3@h", "ROLLCALL_DATA=here", "ROLLCALL_LISTEN=localhost:3100", "ROLLCALL_ADMIN=:3101", "PATH=" + os.Getenv("PATH"),
	}
	var out, errs bytes.Buffer
	exit = run(context.Background(), append([]string{"deploy", "--binary", file}, args...), environ, &out, &errs)
	return exit, out.String(), errs.String()
}

func TestDeployGoesThroughSSH(t *testing.T) {
	home := sshHome(t)
	exit, stdout, stderr := deployed(t, home, "0", "--port", "8443", "im.example.com")
	if exit != 0 {
		t.Fatalf("ended with %d\n%s%s", exit, stdout, stderr)
	}
	args, _ := os.ReadFile(filepath.Join(home, "args"))
	if got := string(args); got != "install --env-stdin --port=8443\n" {
		t.Errorf("the program was run with %q", got)
	}
	stdin, _ := os.ReadFile(filepath.Join(home, "stdin"))
	want := "LEANCLOUD_APP_ID=the-app\nLEANCLOUD_APP_KEY=secret-1\nLEANCLOUD_APP_HOOK_KEY=secret-2\nROLLCALL_STORE=redis://:secret-3@h\n"
	if string(stdin) != want {
		t.Errorf("the program was given\n%s", stdin)
	}
	if !strings.Contains(stderr, "ROLLCALL_DATA, ROLLCALL_LISTEN, ROLLCALL_ADMIN stay here") {
		t.Errorf("what stays is not said:\n%s", stderr)
	}
	argv, err := os.ReadFile(filepath.Join(home, "..", "argv"))
	if err != nil || strings.Contains(string(argv)+stdout+stderr, "secret") {
		t.Errorf("a secret was shown: %v\n%s%s%s", err, argv, stdout, stderr)
	}
	if !strings.Contains(stdout, "http://im.example.com:8443/1.1/functions/getOnOffStatus") {
		t.Errorf("printed\n%s", stdout)
	}
	if left, _ := filepath.Glob(filepath.Join(home, ".rollcall-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if exit, stdout, _ := deployed(t, home, "1", "im.example.com"); exit != exitFailed || strings.Contains(stdout, "curl") {
		t.Errorf("an installation that failed ends with %d and prints\n%s", exit, stdout)
	}
	if left, _ := filepath.Glob(filepath.Join(home, ".rollcall-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDeployForADomain(t *testing.T) {
	home := sshHome(t)
	exit, stdout, stderr := deployed(t, home, "0", "--domain", "im.example.com", "--domain", "rt.example.com", "root@host")
	if exit != 0 {
		t.Fatalf("ended with %d\n%s%s", exit, stdout, stderr)
	}
	args, _ := os.ReadFile(filepath.Join(home, "args"))
	if got := string(args); got != "install --env-stdin --domain=im.example.com --domain=rt.example.com\n" {
		t.Errorf("the program was run with %q", got)
	}
	for _, want := range []string{"https://im.example.com/1.1/functions/getOnOffStatus", "rollcall logs --host root@host"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("printed\n%s", stdout)
		}
	}
	t.Setenv("PATH", t.TempDir()) // there is no ssh
	for _, name := range []string{"*.example.com", "10.0.0.1", "x; rm -rf /", "$(id).example.com", ""} {
		for _, command := range [][]string{{"deploy", "--domain=" + name, "host"}, {"install", "--domain=" + name}} {
			var out, errs bytes.Buffer
			if exit := run(context.Background(), command, nil, &out, &errs); exit != exitMisused {
				t.Errorf("%q ends with %d\n%s", command, exit, &errs)
			}
		}
	}
}

func TestDeployShowsWhatItWouldDo(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // there is no ssh
	exit, stdout, stderr := deployed(t, "/nowhere", "0", "--dry-run", "im.example.com")
	if exit != 0 || strings.Contains(stdout, "secret") || !strings.Contains(stdout, "LEANCLOUD_APP_KEY=***\n") || !strings.Contains(stdout, "install --env-stdin") {
		t.Errorf("ended with %d\n%s%s", exit, stdout, stderr)
	}
	for _, host := range []string{"-oProxyCommand=x", ""} {
		if exit, _, _ := deployed(t, "/nowhere", "0", "--", host); exit != exitMisused {
			t.Errorf("%q ends with %d", host, exit)
		}
	}
	if exit, _, _ := deployed(t, "/nowhere", "0", "im.example.com"); exit != exitFailed {
		t.Errorf("without ssh it ends with %d", exit)
	}
}

func TestCommandsRunOnAServer(t *testing.T) {
	home := sshHome(t)
	for _, name := range []string{"rollcall", "journalctl"} {
		text := "#!/bin/sh\nfor a; do echo \"[$a]\"; done\n[ \"$1\" != watch ]\n"
		if err := os.WriteFile(filepath.Join(home, "..", "bin", name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		exit int
		want string
	}{
		{[]string{"status", "--host", "h", "--json"}, 0, "[status]\n[--json]\n"},
		{[]string{"peer", "--host=h", "--app", "a", "--", "it's; $HOME"}, 0, "[peer]\n[--app]\n[a]\n[--]\n[it's; $HOME]\n"},
		{[]string{"watch", "tom", "--host", "h"}, exitFailed, "[watch]\n[tom]\n"},
		{[]string{"logs", "--host", "h", "-f", "--since", "1 hour ago"}, 0, "[-u]\n[rollcall]\n[--no-pager]\n[-o]\n[cat]\n[--since=1 hour ago]\n[-f]\n"},
		{[]string{"status", "--host=-x"}, exitMisused, ""},
		{[]string{"status", "--host="}, exitMisused, ""},
	} {
		var out, errs bytes.Buffer
		exit := run(context.Background(), c.args, os.Environ(), &out, &errs)
		if exit != c.exit || out.String() != c.want {
			t.Errorf("%q ends with %d and prints\n%s%s", c.args, exit, &out, &errs)
		}
	}
}
