package storetest

import (
	"fmt"
	"slices"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"rollcall/presence"
)

// check compares all that the store answers with the model.
func (p *player) check() error {
	for _, id := range []presence.AppID{"app0", "app1"} {
		var (
			ids  [][]byte
			keys []presence.Key
			list []presence.PeerID
			want presence.Counts
		)
		for i := range 7 {
			peer := fmt.Sprint("p", i)
			ids = append(ids, []byte(peer))
			keys = append(keys, presence.Key{App: id, Peer: presence.PeerID(peer)})
		}
		out := make([]presence.Status, len(ids))
		if _, err := p.h.Store.Statuses(p.ctx, id, ids, p.now, out); err != nil {
			return err
		}
		sums := make([]presence.Summary, len(ids))
		if _, err := p.h.Store.Summaries(p.ctx, keys, sums); err != nil {
			return err
		}
		for i, k := range keys {
			m := p.model[k]
			if err := p.same(k, m); err != nil {
				return err
			}
			st := m.Summary().At(p.now, &p.h.Rules).Status
			if out[i] != st {
				return fmt.Errorf("%v is %v, want %v", k, out[i], st)
			}
			if got := sums[i].At(p.now, &p.h.Rules).Status; got != st {
				return fmt.Errorf("the summary of %v is %v, want %v", k, got, st)
			}
			if st == presence.Online {
				list = append(list, k.Peer)
			}
			if m.Status == presence.Online {
				want.Online++
			}
			if m.Status != presence.Unknown {
				want.Known++
			}
		}
		if err := p.sameList(id, list); err != nil {
			return err
		}
		got, err := p.h.Store.Counts(p.ctx, id, p.now)
		if err != nil {
			return err
		}
		if got.Online != want.Online || got.Known != want.Known {
			return fmt.Errorf("counts of %s are %+v, want %+v", id, got, want)
		}
	}
	return nil
}

func (p *player) same(k presence.Key, want presence.State) error {
	var got presence.State
	if err := p.h.Store.Load(p.ctx, k, &got); err != nil {
		return err
	}
	want.Rev = got.Rev
	if want.Forgotten() {
		want = presence.State{}
		got.Rev = 0
	} else {
		packed := want.Pack(nil)
		want = presence.State{}
		if err := want.Unpack(packed); err != nil {
			return err
		}
	}
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		return fmt.Errorf("the state of %v differs (-want +got):\n%s", k, diff)
	}
	return nil
}

func (p *player) sameList(id presence.AppID, want []presence.PeerID) error {
	var got []presence.PeerID
	for cursor := ""; ; {
		peers, next, err := p.h.Store.List(p.ctx, id, cursor, 2, p.now)
		if err != nil {
			return err
		}
		got = append(got, peers...)
		if next == "" {
			break
		}
		cursor = next
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("listed are %v, want %v", got, want)
	}
	return nil
}
