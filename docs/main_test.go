package docs_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/internal/childtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if builtIn != "" {
			_ = os.RemoveAll(builtIn)
		}
		os.Exit(code)
	}))
}

// builtIn is the directory of the program; empty while no test has needed it.
var builtIn string

// build builds the program, once for all tests.
var build = sync.OnceValues(func() (program string, err error) {
	if builtIn, err = os.MkdirTemp("", "docs"); err != nil {
		return "", err
	}
	program = filepath.Join(builtIn, "rollcall")
	out, err := exec.Command("go", "build", "-o", program, "rollcall/cmd/rollcall").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w: %s", err, out)
	}
	return program, nil
})

// start runs a command that ends with the test, and returns what it prints so far.
func start(t *testing.T, cmd *exec.Cmd) fmt.Stringer {
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
	printed := file(out.Name())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = wait() // its exit code is its own matter
		_ = out.Close()
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(cmd.Path), printed)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return printed
}

type file string

func (f file) String() string {
	b, _ := os.ReadFile(string(f))
	return string(b)
}

// eventually waits until true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
