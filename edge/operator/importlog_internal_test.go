package operator

import (
	"bytes"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/transfer"
)

// The parts of an import are one line of the log, with their sums and why one was refused.
func TestAnImportIsOneLineOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := &importLog{log: slog.New(slog.NewTextHandler(&out, nil))}
		step := func(a ImportAnswer) {
			l.note(&a)
			time.Sleep(importQuiet - time.Millisecond)
			synctest.Wait()
		}
		step(ImportAnswer{Result: transfer.Result{Peers: 2000, Changed: 7, Ended: 1}})
		step(ImportAnswer{Result: transfer.Result{Peers: 30, Changed: 1}})
		l.mu.Lock()
		if out.Len() > 0 {
			t.Errorf("a line before the end: %s", &out)
		}
		l.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		step(ImportAnswer{Result: transfer.Result{Peers: 4}, Code: transfer.CodeApp, Err: "no such app"})
		time.Sleep(time.Hour)
		synctest.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		want := []string{
			`msg="import finished" peers=2030 changed=8 left_out=1 parts=2`,
			`msg="import finished" peers=4 changed=0 left_out=0 parts=1 err="unknown_app: no such app"`,
		}
		if got, all := l.counts(), (map[string]int64{"parts": 3, "refused": 1, "peers": 2034, "changed": 8, "left_out": 1}); !maps.Equal(got, all) {
			t.Errorf("the counts are %v, want %v", got, all)
		}
		for i, w := range want {
			if len(lines) != len(want) || !strings.HasSuffix(lines[i], w) {
				t.Fatalf("the log has\n%s\nwant\n%s", &out, strings.Join(want, "\n"))
			}
		}
	})
}
