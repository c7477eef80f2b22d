package sdktest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/internal/childtest"
	"rollcall/internal/npmtest"
)

const (
	appID     = "rollcallTestAppId000001"
	appKey    = "testAppKey0000000000001"
	masterKey = "testMasterKey0000000001"
	hookKey   = "testHookKey00000000001"
)

// serve builds the binary, starts it and returns the URL it listens on.
func serve(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "rollcall")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, "rollcall/cmd/rollcall").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	data := t.TempDir()
	cmd := exec.Command(binary, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", data)
	cmd.Env = append(os.Environ(), "LEANCLOUD_APP_ID="+appID, "LEANCLOUD_APP_KEY="+appKey,
		"LEANCLOUD_APP_MASTER_KEY="+masterKey, "LEANCLOUD_APP_HOOK_KEY="+hookKey)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	wait, err := childtest.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := wait(); err != nil {
			t.Errorf("the server ended with %v:\n%s", err, log.String())
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var running struct{ Listen string }
		b, err := os.ReadFile(filepath.Join(data, "running.json"))
		if err == nil && json.Unmarshal(b, &running) == nil && running.Listen != "" {
			return "http://" + running.Listen
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) || time.Now().After(deadline) {
			t.Fatalf("the server did not start: %v", err)
		}
	}
}

func hook(t *testing.T, server, name, peer string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, server+"/1.1/functions/"+name, strings.NewReader(fmt.Sprintf(`{"peerId":%q}`, peer)))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range map[string]string{"X-LC-Id": appID, "X-LC-Key": appKey, "X-LC-Hook-Key": hookKey, "Content-Type": "application/json"} {
		r.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || string(body) != "{}" {
		t.Fatalf("%s %s: %d %s", name, peer, resp.StatusCode, body)
	}
}

// An app that uses the JavaScript SDK works after changing nothing but its server's address.
func TestJavaScriptSDK(t *testing.T) {
	npmtest.Install(t, ".")
	server := serve(t)
	hook(t, server, "_clientOnline", "Tom")
	hook(t, server, "_clientOnline", "汤姆")
	hook(t, server, "_clientOnline", "Jerry")
	hook(t, server, "_clientOffline", "Jerry")

	const all = `["1","0",null,"1"]`
	runScript(t, "run.js", server, []outcome{
		{"run", all, ""},
		{"rpc", all, ""},
		{"run with the master key", all, ""},
		{"run for staging", `["1"]`, ""},
		{"run without parameters", "", "1"},
		{"run of what does not exist", "", "1"},
		{"hook without its key", "", "401"},
	})
}

// An app that has moved to Parse Server asks rollcall by Parse's own SDK, with rollcall as its
// server or behind its path.
func TestParseSDK(t *testing.T) {
	npmtest.Install(t, ".")
	server := serve(t)
	hook(t, server, "_clientOnline", "Tom")
	hook(t, server, "_clientOnline", "汤姆")
	hook(t, server, "_clientOnline", "Jerry")
	hook(t, server, "_clientOffline", "Jerry")
	for _, mount := range []string{"/1.1", "/1", "/parse"} {
		t.Run(mount, func(t *testing.T) {
			const all = `["1","0",null,"1"]`
			runScript(t, "parse.js", server+mount, []outcome{
				{"run", all, ""},
				{"run with the master key", all, ""},
				{"run with a hole in the list", `["1",null]`, ""},
				{"run of what does not exist", "", "1"},
				{"hook without its key", "", "401"},
				{"run with a wrong key", "", "401"},
			})
		})
	}
}

// An outcome is what a call of a script came to.
type outcome struct{ name, value, code string }

// runScript runs a script of this folder against a server and compares what its calls come to.
func runScript(t *testing.T, script, server string, want []outcome) {
	t.Helper()
	cmd := exec.Command("node", script)
	cmd.Env = append(os.Environ(), "SERVER="+server, "ID="+appID, "KEY="+appKey, "MASTER_KEY="+masterKey)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, errs.String())
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	for _, w := range want {
		var got struct {
			Name    string
			Value   json.RawMessage
			Code    json.RawMessage
			Message string
		}
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &got) != nil {
			t.Fatalf("no line for %q in %s\n%s", w.name, out, errs.String())
		}
		if got.Name != w.name || string(got.Value) != w.value || string(got.Code) != w.code {
			t.Errorf("%s: got %s, want value %s, code %s", w.name, lines.Text(), w.value, w.code)
		}
	}
}
