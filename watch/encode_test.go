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

// A crier puts what it tells into bytes.
type crier struct {
	form *watch.Form
	said []string
}

func (c *crier) Ready() bool { return true }

func (c *crier) Push(b *watch.Batch) bool {
	c.said = append(c.said, string(b.In(c.form)))
	return true
}

// Watchers that are told the same in one form share the bytes, which are made once; whoever follows
// other peers, or speaks another form, has bytes of his own.
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
		var criers [n]*crier
		for i := range criers {
			criers[i] = &crier{form: &forms[i%2]}
			w := h.watch("", "tom")
			want := "snapshot tom=unknown"
			if i == n-1 {
				w = h.watch("", "tom", "ann")
				want += " ann=unknown"
			}
			h.expect(w, time.Second, want)
			w.Attach(criers[i])
			go func() { _, _ = w.Next(ctx) }()
		}
		synctest.Wait()
		for i, status := range []string{"online", "offline"} {
			h.tell(on, "tom", "1")
			if i == 1 {
				h.tell(off, "tom", "1", logout)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			for k, c := range criers {
				if len(c.said) != i+1 {
					t.Fatalf("watcher %d was told %q", k, c.said)
				}
				want := fmt.Sprintf(`%d change {"peer":"tom","status":"%s"} `, k%2, status)
				if !strings.HasPrefix(c.said[i], want) {
					t.Errorf("watcher %d was told %q, want %q and a token", k, c.said[i], want)
				}
				same := c.said[i] == criers[k%2].said[i]
				if last := k == n-1; same == last {
					t.Errorf("watcher %d was told %q, the first of its kind %q", k, c.said[i], criers[k%2].said[i])
				}
			}
			if want := [2]int{i + 1, 2 * (i + 1)}; made != want {
				t.Errorf("after change %d bytes were made %v times, want %v", i, made, want)
			}
		}
		cancel()
	})
}
