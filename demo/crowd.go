package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"
)

// stars have buttons on the page and no life of their own.
var stars = []string{"tom", "jerry", "spike"}

// crowd are the others.
var crowd = strings.Fields(`tyke butch nibbles quacker toots mammy george joan lightning topsy meathead droopy barney cuckoo eagle
	goldie muscles otto pecos toodles uncle alice bruno chang diego emma fatima goran hana ivan jing kofi lin maria nadia omar
	priya quentin rosa sven tariq uma viktor wei xena yuki zoe`)

// A person is one of the crowd.
type person struct {
	demo          *Demo
	id            string
	byHook        bool // its IM server reports it; it has no socket here
	wakes, sleeps float64
	rnd           *rand.Rand

	online  bool // by hook
	awake   []*device
	asleep  *device
	devices int
}

// live lives until ctx ends.
func (p *person) live(ctx context.Context) {
	defer func() {
		p.asleep.die()
		for _, d := range p.awake {
			d.die()
		}
	}()
	for {
		wait := time.Duration(float64(p.demo.cfg.Day) / 24 * (0.1 + 0.9*p.rnd.Float64()))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		hour := p.demo.hour()
		day := hour >= p.wakes && hour < p.sleeps || hour+24 < p.sleeps
		var err error
		if p.byHook {
			err = p.hook(ctx, day)
		} else {
			err = p.step(ctx, day)
		}
		if err != nil && ctx.Err() == nil {
			p.demo.cfg.Failed(p.id, err)
		}
	}
}

// step is the next thing that happens to the devices of p.
func (p *person) step(ctx context.Context, day bool) error {
	p.awake = slices.DeleteFunc(p.awake, (*device).ended)
	if p.asleep != nil { // it wakes up and finds its connection dead
		p.asleep.die()
		p.asleep = nil
	}
	chance := p.rnd.IntN(12)
	switch n := len(p.awake); {
	case !day && n > 0:
		d := p.pick()
		if chance < 3 {
			d.die() // the battery is empty
		} else {
			d.logout()
		}
	case day && n == 0, day && n < 3 && chance < 2: // a login, or one more tab
		return p.login(ctx, "")
	case !day:
	case chance == 2:
		p.pick().logout()
	case chance == 3: // a tunnel
		p.pick().die()
	case chance == 4: // the lid is closed
		p.asleep = p.pick()
		p.asleep.sleep()
	case chance == 5: // another phone takes the place of the one before
		return p.login(ctx, "phone")
	}
	return nil
}

// pick takes one of the devices out of those awake.
func (p *person) pick() *device {
	i := p.rnd.IntN(len(p.awake))
	d := p.awake[i]
	p.awake = slices.Delete(p.awake, i, i+1)
	return d
}

func (p *person) login(ctx context.Context, tag string) error {
	p.devices++
	d, err := p.demo.login(ctx, p.id, fmt.Sprintf("%s-%d", p.id, p.devices), tag)
	if err == nil {
		p.awake = append(p.awake, d)
	}
	return err
}

// hook has the IM server of p report it. One offline in ten is lost, and ends with the lease.
func (p *person) hook(ctx context.Context, day bool) error {
	online := day && p.rnd.IntN(5) > 0
	if online == p.online {
		return nil
	}
	p.online = online
	name := "_clientOnline"
	if !online {
		name = "_clientOffline"
		if p.rnd.IntN(10) == 0 {
			return nil
		}
	}
	return p.demo.hook(ctx, name, p.id)
}

// hook calls a hook of LeanCloud's wire.
func (d *Demo) hook(ctx context.Context, name, peer string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body := fmt.Appendf(nil, `{"peerId":%q}`, peer)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.cfg.URL+"/1.1/functions/"+name, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for k, v := range map[string]string{"Content-Type": "application/json", "X-LC-Id": d.cfg.App, "X-LC-Key": d.cfg.Key, "X-LC-Hook-Key": d.cfg.HookKey} {
		r.Header.Set(k, v)
	}
	r.Close = true
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return fmt.Errorf("%s of %s: %s: %s", name, peer, res.Status, text)
	}
	return nil
}
