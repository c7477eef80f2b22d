package examples_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	rollcall "rollcall/client/go"
)

// TestReceiversKeepACopy: both receivers of docs/changes-out.md have a copy of who is online, list
// when they are asked to for the first time, and refuse what is not signed.
func TestReceiversKeepACopy(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "../cmd/rollcall", "./changes-go").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for name, command := range map[string]*exec.Cmd{
		"go": exec.Command(filepath.Join(bin, "changes-go")),
		"js": exec.Command("node", "changes-js/receiver.js"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const secret = "changes-secret-of-the-example"
			listen := free(t)
			file := filepath.Join(t.TempDir(), "rollcall.yaml")
			settings := fmt.Sprintf("apps: [{id: %s, app_key: %s, hook_key: %s, master_key: %s}]\nchanges: [{id: backend, url: \"http://%s/presence\", secret: %s, timeout: 2s}]\n",
				app, appKey, hookKey, masterKey, listen, secret)
			if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
				t.Fatal(err)
			}
			serve := exec.Command(filepath.Join(bin, "rollcall"), "serve", "--config", file, "--data", "", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
			server := run(t, serve, `^ *apps +(http\S+)`)
			client, err := rollcall.New(rollcall.Config{URL: server.address, App: app, MasterKey: masterKey})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.Close)
			events := func(events ...rollcall.Event) {
				t.Helper()
				if _, err := client.Report(t.Context(), events...); err != nil {
					t.Fatal(err)
				}
			}
			// Before the receiver runs: it lists.
			events(rollcall.Event{Peer: "tom", Session: "1", State: "online"}, rollcall.Event{Peer: "ann", Session: "1", State: "online"})
			command.Env = append(os.Environ(), "CHANGES_SECRET="+secret, "CHANGES_LISTEN="+listen, "ROLLCALL_URL="+server.address,
				"ROLLCALL_APP="+app, "ROLLCALL_MASTER_KEY="+masterKey)
			receiver := run(t, command, `listens on (\S+)$`)
			copyIs(t, receiver.address, "ann tom")
			events(rollcall.Event{Peer: "tom", Session: "1", State: "offline", Why: "logout"}, rollcall.Event{Peer: "zoe", Session: "1", State: "online"})
			copyIs(t, receiver.address, "ann zoe")
			resp, err := http.Post("http://"+receiver.address+"/presence", "application/json", nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("a call without a signature is answered %d", resp.StatusCode)
			}
			http.DefaultClient.CloseIdleConnections()
		})
	}
}

// copyIs waits until a receiver has want online.
func copyIs(t *testing.T, address, want string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + address + "/online")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got = string(b); got == want {
			return
		}
	}
	t.Fatalf("%q are online to the receiver, want %q", got, want)
}
