package check_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/check"
	"rollcall/internal/childtest"
)

const (
	appID     = "checked"
	appKey    = "app-key-of-the-checked-app"
	masterKey = "master-key-of-the-checked-app"
	hookKey   = "hook-key-of-the-checked-app"

	patience = 2 * time.Minute // far beyond any start
)

var keys = []string{
	"ROLLCALL_APP_ID=" + appID, "ROLLCALL_APP_KEY=" + appKey, "ROLLCALL_MASTER_KEY=" + masterKey, "ROLLCALL_HOOK_KEY=" + hookKey,
	"ROLLCALL_TOKEN_SECRET=token-secret-of-the-checked-app-000",
}

// program is the real binary.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "check")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "rollcall")
	if out, err := exec.Command("go", "build", "-o", program, "rollcall/cmd/rollcall").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build: %v\n%s", err, out))
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// start runs a command that ends with the test.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = out, out
	wait, err := childtest.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = wait() // its exit code is its own matter
		_ = out.Close()
		if b, _ := os.ReadFile(out.Name()); t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(cmd.Path), b)
		}
	})
}

// startRollcall starts a server with settings and returns its address.
func startRollcall(t *testing.T, settings ...string) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	cmd := exec.Command(program, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", data)
	cmd.Env = append(append(os.Environ(), keys...), settings...)
	start(t, cmd)
	var running struct{ Listen string }
	eventually(t, "rollcall listens", func() bool {
		b, err := os.ReadFile(filepath.Join(data, "running.json"))
		return err == nil && json.Unmarshal(b, &running) == nil
	})
	return running.Listen
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func listens(t *testing.T, port string) {
	t.Helper()
	eventually(t, "port "+port+" listens", func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// ports returns n ports that nothing listens on now.
func ports(t *testing.T, n int) (free []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		free = append(free, port)
	}
	return free
}

// run runs the real command and returns its report, by the name of each check.
func run(t *testing.T, ca, url string, args ...string) map[string]check.Result {
	t.Helper()
	cmd := exec.Command(program, append([]string{"check", url, "--json"}, args...)...)
	cmd.Env = append(append(os.Environ(), keys...), "SSL_CERT_FILE="+ca)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var report check.Report
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderr.String())
	}
	if report.OK != (err == nil) {
		t.Errorf("ok is %v and the command ends with %v", report.OK, err)
	}
	results := map[string]check.Result{}
	for _, r := range report.Checks {
		results[r.Name] = r
	}
	if t.Failed() || testing.Verbose() {
		t.Logf("%s", out)
	}
	for _, secret := range []string{appKey, masterKey, hookKey} {
		if strings.Contains(string(out)+stderr.String(), secret) {
			t.Error("a key is printed")
		}
	}
	return results
}
