package watch_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/presence"
	"rollcall/watch"
)

// A byteSink keeps what is pushed to it as bytes.
type byteSink struct {
	form *watch.Form
	got  []string
}

func (c *byteSink) Ready() bool { return true }

func (c *byteSink) Push(b *watch.Batch) bool {
	c.got = append(c.got, string(b.In(c.form)))
	return true
}

// Watchers that receive the same in one form share the bytes, which are made once; one that follows
// other peers, or speaks another form, has bytes of its own.
func TestBytesAreMadeOnce(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		const n = 10
		made := [2]int{}
		var forms [2]watch.Form
		for k := range forms {
			forms[k].Append = func(out []byte, b *watch.Batch) []byte {
				made[k]++
				return fmt.Appendf(out, "%d %s %s %s", k, b.Kind, b.Updates[0].JSON(presence.DetailBrief), b.Token)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var sinks [n]*byteSink
		for i := range sinks {
			sinks[i] = &byteSink{form: &forms[i%2]}
			w := h.watch("", "tom")
			want := "snapshot tom=unknown"
			if i == n-1 {
				w = h.watch("", "tom", "ann")
				want += " ann=unknown"
			}
			h.expect(w, time.Second, want)
			w.Attach(sinks[i])
			go func() { _, _ = w.Next(ctx) }()
		}
		synctest.Wait()
		for i, status := range []string{"online", "offline"} {
			h.report(on, "tom", "1")
			if i == 1 {
				h.report(off, "tom", "1", logout)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			for k, c := range sinks {
				if len(c.got) != i+1 {
					t.Fatalf("watcher %d received %q", k, c.got)
				}
				want := fmt.Sprintf(`%d change {"peer":"tom","status":"%s"} `, k%2, status)
				if !strings.HasPrefix(c.got[i], want) {
					t.Errorf("watcher %d received %q, want %q and a token", k, c.got[i], want)
				}
				same := c.got[i] == sinks[k%2].got[i]
				if last := k == n-1; same == last {
					t.Errorf("watcher %d received %q, the first of its kind %q", k, c.got[i], sinks[k%2].got[i])
				}
			}
			if want := [2]int{i + 1, 2 * (i + 1)}; made != want {
				t.Errorf("after change %d bytes were made %v times, want %v", i, made, want)
			}
		}
		cancel()
	})
}
