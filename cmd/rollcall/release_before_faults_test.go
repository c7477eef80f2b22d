//go:build faults && linux && history

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// releaseBefore is the last commit of the release before this one.
const releaseBefore = "49a5433bc5e42c1a842c24882e730cada472fdcf"

// before returns the program of the release before, built from the history of this repository.
func before(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	// The history may be another user's.
	archive := exec.Command("git", "-c", "safe.directory=*", "archive", releaseBefore)
	archive.Dir = "../.."
	var problem bytes.Buffer
	archive.Stderr = &problem
	unpack := exec.Command("tar", "-x", "-C", root)
	var err error
	if unpack.Stdin, err = archive.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := unpack.Start(); err != nil {
		t.Fatal(err)
	}
	if err := archive.Run(); err != nil {
		t.Fatalf("the tree of the release before is in the history, which a shallow clone has not: %v %s", err, &problem)
	}
	if err := unpack.Wait(); err != nil {
		t.Fatal(err)
	}
	return buildIn(t, root, "0.1.0")
}

// report sends events of the native API.
func (u *unit) report(events string) {
	u.t.Helper()
	r, err := http.NewRequest(http.MethodPost, u.address()+"/v1/events", strings.NewReader(events))
	if err != nil {
		u.t.Fatal(err)
	}
	for name, value := range map[string]string{"X-LC-Id": "trial", "X-LC-Hook-Key": "a-hook-key-to-try-things", "Content-Type": "application/json"} {
		r.Header.Set(name, value)
	}
	res, err := client.Do(r)
	if err != nil {
		u.t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		u.t.Fatalf("%s: %d %s", events, res.StatusCode, text)
	}
}

// TestFaultTheReleaseBeforeTakesOverAndGivesBack: state goes from the release before to this one,
// back, and forth again, and nothing that either acknowledged is lost. The release before cannot
// listen on a socket that is held for it, so no calls are made meanwhile; watchers stay.
func TestFaultTheReleaseBeforeTakesOverAndGivesBack(t *testing.T) {
	older, newer := before(t), built(t, "0.2.0")
	u := newUnit(t, false)
	if err := u.start(older); err != nil {
		t.Fatal(err)
	}
	s := newScene(t, u.address())
	for i, program := range []string{newer, older, newer} {
		s.load.first = i * 1_000_000 // other peers than before
		stop := s.load.run()
		time.Sleep(between)
		stop()
		u.restart(program)
		s.settled()
	}
	// A state that the release before does not know: it says so, and leaves everything as it is.
	u.report(fmt.Sprintf(`{"events":[{"peer":"later","session":"c1","state":"online","time":%d,"seq":7}]}`, time.Now().Add(time.Minute).UnixMilli()))
	u.stop()
	if err := u.start(older); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Fatalf("the release before starts on a state that it does not know, with %v", err)
	}
	if err := u.start(newer); err != nil {
		t.Fatal(err)
	}
	s.settled()
	if t.Failed() {
		t.Log(u.log())
	}
}
