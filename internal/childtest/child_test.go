//go:build linux

package childtest_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"rollcall/internal/childtest"
)

// parent has this test binary play a test process that starts a child and is killed.
const parent = "CHILDTEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parent) != "" {
		playParent()
	}
	goleak.VerifyTestMain(m)
}

// playParent starts a child that would live for ever and that holds standard output open, says so,
// and waits to be killed.
func playParent() {
	cmd := exec.Command("sleep", "infinity")
	cmd.Stdout = os.Stdout
	if _, err := childtest.Start(cmd); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("started")
	select {}
}

func TestAChildEndsWithATestThatIsKilled(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), parent+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	wait, err := childtest.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	if line, err := r.ReadString('\n'); err != nil || strings.TrimSpace(line) != "started" {
		t.Fatalf("the parent says %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The end of the stream comes when no process holds it any more: neither the parent nor its
	// child.
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("read %q, %v", rest, err)
	}
	if err := wait(); err == nil {
		t.Error("the parent ended well though it was killed")
	}
}

func TestAChildThatCannotBeStarted(t *testing.T) {
	if _, err := childtest.Start(exec.Command("/no/such/program")); err == nil {
		t.Error("no error")
	}
}
