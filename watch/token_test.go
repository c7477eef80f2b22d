package watch_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"rollcall/ask/token"
	"rollcall/presence"
	"rollcall/watch"
)

// plainToken is a token as the first release made them: numbers that anybody can write.
func plainToken(epoch, horizon, list, unknown uint64) string {
	raw := []byte{1}
	for _, v := range []uint64{epoch, horizon, list, unknown} {
		raw = binary.BigEndian.AppendUint64(raw, v)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// Only what a process sealed that knows the secret of the app opens, for that app, and for what it
// was sealed for.
func TestTokensAreSealed(t *testing.T) {
	for name, brief := range map[string]bool{"of a client that sees all": false, "of one that sees statuses": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				h.brief = brief
				text := h.look("", "tom", "ann").Token.String()
				for who, tokens := range map[string]*token.Sealer{"the process that made it": h.tokens, "another that knows the secret": testTokens()} {
					if k, ok := tokens.Open(app, text); !ok || k.Detail != h.detail() {
						t.Errorf("%s does not open it", who)
					}
				}
				if _, ok := h.tokens.Open("another", text); ok {
					t.Error("it opens for another app")
				}
				if _, ok := token.NewSealer(func(presence.AppID) (string, string) { return "another", "" }).Open(app, text); ok {
					t.Error("it opens with another secret")
				}
				if _, ok := h.tokens.OpenCursor(app, text); ok {
					t.Error("it opens as a cursor")
				}
				if _, ok := h.tokens.Open(app, h.tokens.SealCursor(app, "c")); ok {
					t.Error("a cursor opens as a token")
				}
				for i := range text {
					for _, c := range []byte("Aa-") {
						if bent := text[:i] + string(c) + text[i+1:]; bent != text {
							if _, ok := h.tokens.Open(app, bent); ok {
								t.Errorf("with %q at %d it opens", c, i)
							}
						}
					}
					if _, ok := h.tokens.Open(app, text[:i]); ok {
						t.Errorf("its first %d bytes open", i)
					}
				}
				if other := h.look("", "tom", "ann").Token.String(); other == text {
					t.Error("two tokens of one content are the same text")
				}
			})
		})
	}
}

// A forged token shows nothing of when a peer was written: it gets what no token gets.
func TestForgedTokensGetEverything(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.report(on, "tom", "1")
		list := token.ListOf(app) ^ token.Fingerprint("tom")
		for _, brief := range []bool{true, false} {
			h.brief = brief
			for _, horizon := range []uint64{0, uint64(now()) - 1, uint64(now()) + 1, ^uint64(0)} {
				token := plainToken(h.Epoch(), horizon, list, 0)
				if p := h.look(token, "tom"); !p.Complete {
					t.Errorf("a poll with horizon %d is answered by what changed", horizon)
				}
				h.goesOn(token, "snapshot tom=online", "tom")
			}
		}
	})
}

// With the app key a poll and a resume name the peers whose status differs from what the client was
// notified of, and no other, however often, and whenever, the others were written.
func TestAClientThatSeesStatusesIsNotNotifiedOfWhatLooksTheSame(t *testing.T) {
	for _, n := range []int{1, 3, 4, 511, 512} {
		t.Run(fmt.Sprint(n, " peers"), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				h.brief = true
				peers := make([]presence.PeerID, n)
				for i := range peers {
					peers[i] = presence.PeerID(fmt.Sprint("p", i))
				}
				h.report(on, "p0", "1")
				w := h.watch("", peers...)
				watched, polled := drain(h, w), h.look("", peers...).Token.String()
				w.Close(watch.ReasonGone)
				turn := func() {
					time.Sleep(10 * time.Second)
					h.report(off, "p0", "1", logout)
					time.Sleep(time.Second)
					h.report(on, "p0", "2")
				}
				turn()
				slices.Reverse(peers) // the order means nothing
				p := h.look(polled, peers...)
				if named, _ := p.Read(); p.Complete || len(named) != 0 {
					t.Errorf("the poll names %d peers; everything: %v", len(named), p.Complete)
				}
				h.goesOn(watched, "resume", peers...)
				h.report(off, "p0", "2", logout)
				p = h.look(polled, peers...)
				if named, _ := p.Read(); p.Complete || len(named) != 1 || named[0].ID != "p0" {
					t.Errorf("after p0 went the poll names %d peers", len(named))
				}
				h.goesOn(watched, "resume p0=offline", peers...)
			})
		})
	}
}

// goesOn watches peers with token and expects what is notified first.
func (h *house) goesOn(token, want string, peers ...presence.PeerID) {
	h.Helper()
	w := h.watch(token, peers...)
	defer w.Close(watch.ReasonGone)
	h.expect(w, 0, want)
}

// drain takes what w is notified of at once and returns its token.
func drain(h *house, w *watch.Watcher) string {
	h.Helper()
	for {
		b, err := w.Next(h.Context())
		if err != nil {
			h.Fatal(err)
		}
		if !b.Token.IsZero() {
			return b.Token.String()
		}
	}
}

// The token of a longer list is a digest: it resumes when every status is the same, and else gets a
// snapshot.
func TestALongListResumesWhenNothingDiffers(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.brief = true
		peers := make([]presence.PeerID, 513)
		for i := range peers {
			peers[i] = presence.PeerID(fmt.Sprint("p", i))
		}
		h.report(on, "p0", "1")
		w := h.watch("", peers...)
		token := drain(h, w)
		h.report(off, "p0", "1", logout)
		if got, _ := h.next(w, time.Second); got != "change p0=offline" {
			t.Fatalf("notified %q", got)
		}
		h.report(on, "p0", "2")
		later := drain(h, w)
		w.Close(watch.ReasonGone)
		for _, k := range []string{token, later} {
			h.goesOn(k, "resume", peers...)
			if len(k) > 100 {
				t.Errorf("a token takes %d bytes", len(k))
			}
		}
		h.report(off, "p0", "2", logout)
		if b, err := h.watch(token, peers...).Next(t.Context()); err != nil || b.Kind != watch.Snapshot {
			t.Errorf("%v, %v; want a snapshot", b.Kind, err)
		}
	})
}

// A list that changes while it is followed has tokens of the list as it is.
func TestTokensFollowTheList(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.brief = true
		h.report(on, "tom", "1")
		w := h.watch("", "tom", "ann")
		h.expect(w, 0, "snapshot tom=online ann=unknown")
		if err := w.Add(t.Context(), []presence.PeerID{"bob", "eve"}); err != nil {
			t.Fatal(err)
		}
		four := h.expect(w, 0, "snapshot bob=unknown eve=unknown").String()
		w.Remove([]presence.PeerID{"ann"})
		h.report(on, "eve", "1")
		three := h.expect(w, time.Second, "change eve=online").String()
		w.Close(watch.ReasonGone)
		h.goesOn(four, "resume eve=online", "tom", "ann", "bob", "eve")
		h.goesOn(three, "resume", "eve", "bob", "tom")
		h.goesOn(three, "snapshot eve=online bob=unknown", "eve", "bob")
	})
}

// A token of a client that sees only statuses is none for one that sees all, and the other way
// round.
func TestTokensAreOfOneDetail(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		h.report(on, "tom", "1")
		var tokens [2]string
		for i, brief := range []bool{false, true} {
			h.brief = brief
			tokens[i] = h.look("", "tom").Token.String()
		}
		for i, brief := range []bool{true, false} {
			h.brief = brief
			if p := h.look(tokens[i], "tom"); !p.Complete {
				t.Errorf("brief %v: the other's token is answered by what changed", brief)
			}
			h.expect(h.watch(tokens[i], "tom"), 0, "snapshot tom=online")
		}
	})
}
