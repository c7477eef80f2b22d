//go:build unix

package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"rollcall/internal/childtest"
)

// The hooks that npm's leanengine receives from the binary while SDKs come and go.
func TestTheHooksOfALeanEngineAppAreCalled(t *testing.T) {
	engine, received := startEngine(t)
	p := startProcess(t, "ROLLCALL_HOOKS_URL="+engine)
	tom := p.stay([]string{"TAG=Mobile"}, "tom")
	expectHook(t, received, `online {"peerId":"tom","reconnect":0,"sourceIP":"127.0.0.1","tag":"Mobile"}`)
	p.stay([]string{"TAG=Mobile"}, "tom")
	both := []string{next(t, received), next(t, received)}
	for _, want := range []string{
		`offline {"closeCode":3,"closeMsg":"SESSION_CONFLICT","peerId":"tom","sourceIP":"127.0.0.1","tag":"Mobile"}`,
		`online {"peerId":"tom","reconnect":0,"sourceIP":"127.0.0.1","tag":"Mobile"}`,
	} {
		if both[0] != want && both[1] != want {
			t.Errorf("the engine hears %q after a conflict, want %s among them", both, want)
		}
	}
	tom.expect("the conflict", func(l stayed) bool { return l.Event == "conflict" })
	jerry := p.stay(nil, "jerry")
	expectHook(t, received, `online {"peerId":"jerry","reconnect":0,"sourceIP":"127.0.0.1"}`)
	fmt.Fprintln(jerry.in, "close")
	expectHook(t, received, `offline {"closeCode":1,"closeMsg":"LOGOUT","peerId":"jerry","sourceIP":"127.0.0.1"}`)
}

// startEngine runs the LeanEngine app and returns its address and what it receives.
func startEngine(t *testing.T) (url string, received <-chan string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := runNode(ctx, t, "engine.js", nil, "0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	wait, err := childtest.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			var l struct {
				Hook   string
				Params map[string]any
			}
			if json.Unmarshal(sc.Bytes(), &l) != nil {
				continue // what the engine says of itself
			}
			b, err := json.Marshal(l.Params)
			if err == nil {
				lines <- l.Hook + " " + string(b)
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = wait() // killed
	})
	var port int
	ready := next(t, lines)
	if _, err := fmt.Sscanf(ready, `ready {"port":%d}`, &port); err != nil {
		t.Fatalf("the engine says %s: %v", ready, err)
	}
	return fmt.Sprintf("http://127.0.0.1:%d", port), lines
}

func next(t *testing.T, received <-chan string) string {
	t.Helper()
	select {
	case h := <-received:
		return h
	case <-time.After(patience):
		t.Fatalf("the engine hears nothing for %v", patience)
		return ""
	}
}

func expectHook(t *testing.T, received <-chan string, want string) {
	t.Helper()
	if got := next(t, received); got != want {
		t.Errorf("the engine hears %s\nwant             %s", got, want)
	}
}
