package redisstore

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
)

//go:embed scripts/own.lua
var ownText string

var ownScript = newScript(ownText)

// An ownership is what is known of the app that the recipe's keys belong to. These keys name no app, and neither do the index entries of
// their peers, so the id of the app is recorded in Redis: a process that takes them for those of another app would show its people there.
type ownership struct {
	doubt atomic.Bool                    // the record is read again before the next call
	other atomic.Pointer[presence.AppID] // the owner, when it is another app than the one this process serves from these keys
	turn  chan struct{}                  // of the one who reads the record
}

// errOwner: what Redis holds under the recipe's keys are the peers of another app.
var errOwner = fmt.Errorf("%w: the recipe's keys belong to another app", errAway)

const ownMark = "app "

func (l *layout) owner() string { return l.own + "recipe" }

// owners returns the keys that record the owner: one for the indexes under our prefix, and one for the summary keys, which a process of
// another prefix may use too. The second is the summary key of the empty id, which no peer has.
func (l *layout) owners() []string {
	keys := []string{l.owner()}
	if !strings.HasPrefix(l.summary, l.own) { // else no summary key is the recipe's own, see collides
		keys = append(keys, l.summary)
	}
	return keys
}

// recorded returns the app that a record names; ok is false for no record.
func recorded(value string) (app presence.AppID, ok bool) {
	id, ok := strings.CutPrefix(value, ownMark)
	return presence.AppID(id), ok
}

// openOwner decides which app the recipe's keys belong to, and records it. The record counts, whatever the order of the apps, until a
// setting names another app.
func (s *Store) openOwner(ctx context.Context, p place) error {
	if s.cfg.Recipe == "" && len(s.cfg.Apps) == 0 {
		return nil // the keys are for no app
	}
	keys := s.keys.owners()
	var found []presence.AppID
	for _, key := range keys {
		app, known, err := s.readOwner(ctx, key)
		if err != nil && !s.passedOver(key, err) {
			return fmt.Errorf("read the owner of the recipe's keys, %q: %w", key, away(err))
		}
		if known {
			found = append(found, app)
		}
	}
	owner := s.cfg.Recipe
	for _, app := range found {
		if owner == "" {
			owner = app
		}
		if s.cfg.Recipe == "" && (app != owner || !slices.Contains(s.cfg.Apps, app)) {
			return s.notOurs(p, app)
		}
	}
	if owner == "" && len(s.cfg.Apps) > 0 {
		owner = s.cfg.Apps[0]
	}
	s.keys.recipe = owner
	for _, app := range found {
		if app != owner {
			s.log.Info("recipe keys taken from another app", "app", owner, "was", app)
			break
		}
	}
	for _, key := range keys {
		app, err := s.own(ctx, key, s.cfg.Recipe != "")
		switch {
		case refusedWrite(err) || s.passedOver(key, err): // recorded with a later check
		case err != nil:
			return fmt.Errorf("record the owner of the recipe's keys, %q: %w", key, away(err))
		case app != owner && slices.Contains(s.cfg.Apps, app) && key == s.keys.owner():
			owner, s.keys.recipe = app, app // another process was first, with the same apps in another order
		case app != owner:
			return s.notOurs(p, app)
		}
	}
	return nil
}

// notOurs is the refusal to start on the keys of another app.
func (s *Store) notOurs(p place, app presence.AppID) error {
	ours := "APP"
	if len(s.cfg.Apps) > 0 {
		ours = string(s.cfg.Apps[0])
	}
	return misfit("the keys %.60q… in redis at %s belong to app %.80q, which is not an app of this server", s.keys.summary, p.at(), app)(fmt.Sprintf(
		"--set redis.recipe_app=%s leaves them to that app and gives this server's apps keys of their own; --set redis.recipe_app=%s takes them, and the peers in them, over for %s; or name another database, or another prefix and summary_prefix, in the URL",
		app, ours, ours))
}

// refusedWrite reports whether Redis refuses a write that may succeed later, as when its memory is full.
func refusedWrite(err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	return ok && !isAway(err) && !isStranger(err) && !strings.HasPrefix(re.Error(), "NOPERM")
}

// passedOver reports whether the start goes on without a record: the primary of a Cluster that has it is lost, and the others are to serve.
func (s *Store) passedOver(key string, err error) bool {
	if err == nil || s.client.Mode() != rueidis.ClientModeCluster || !isAway(err) {
		return false
	}
	s.log.Debug("owner of the recipe's keys out of reach", "key", key, "err", err)
	return true
}

// readOwner returns the app that a record names; known is false when there is none.
func (s *Store) readOwner(ctx context.Context, key string) (app presence.AppID, known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, ownerWithin)
	defer cancel()
	v, err := s.do(ctx, s.client.B().Get().Key(key).Build()).ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		return "", false, err
	}
	app, known = recorded(v)
	return app, known, nil
}

// ownerWithin bounds one look at a record: the client tries a primary that is gone for as long as it may.
const ownerWithin = 2 * time.Second

// own records our app at key where no app is recorded, or, with force, in any case; it returns the app that is recorded then.
func (s *Store) own(ctx context.Context, key string, force bool) (presence.AppID, error) {
	ctx, cancel := context.WithTimeout(ctx, ownerWithin)
	defer cancel()
	forced := ""
	if force {
		forced = "1"
	}
	results, err := s.exec(ctx, ownScript, []scriptCall{{[]string{key}, []string{ownMark + string(s.keys.recipe), forced}}})
	if err != nil {
		return "", err
	}
	v, err := results[0].ToString()
	if err != nil {
		return "", err
	}
	app, _ := recorded(v)
	return app, nil
}

// owned returns an error while the recipe's keys belong to another app: nothing of them is read, written or ended then. It asks Redis
// only when the record may have changed.
func (s *Store) owned(ctx context.Context) error {
	o := &s.owner
	if s.keys.recipe != "" && o.doubt.Load() {
		if err := s.lookAtOwner(ctx); err != nil {
			return err
		}
	}
	if o.other.Load() != nil {
		return errOwner
	}
	return nil
}

// getOwned is getAll for what answers are made of. Where there is one primary the record of the owner and the epoch come along in the same
// call, so that no answer is that of a Redis which was emptied, or has taken the place of ours, before its link said so.
func (s *Store) getOwned(ctx context.Context, keys []string) ([][]byte, error) {
	if s.single == nil {
		return s.getAll(ctx, keys)
	}
	n := len(keys)
	values, err := s.getAll(ctx, append(slices.Clip(keys), s.keys.epoch(), s.keys.owner()))
	if err != nil {
		return nil, err
	}
	if err := s.sameEpoch(ctx, values[n]); err != nil {
		return nil, err
	}
	if s.keys.recipe == "" {
		return values[:n], nil
	}
	if app, known := recorded(string(values[n+1])); !known || app != s.keys.recipe {
		s.doubtOwner()
		if err := s.owned(ctx); err != nil {
			return nil, err
		}
	}
	return values[:n], nil
}

// lookAtOwner reads the record, and writes it when Redis has lost it. A record that Redis refuses to show decides nothing, nor does one of a
// Cluster that cannot be reached: it lies on one primary, and the others are to go on.
func (s *Store) lookAtOwner(ctx context.Context) error {
	o := &s.owner
	if s.single != nil && s.single.away.Load() != 0 {
		return errAway
	}
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return away(ctx.Err())
	}
	if !o.doubt.Load() {
		return nil // another caller has looked meanwhile
	}
	begun, key := time.Now(), ""
	var other *presence.AppID
	for _, key = range s.keys.owners() {
		app, known, err := s.readOwner(ctx, key)
		if err == nil && !known {
			app, err = s.own(ctx, key, false)
		}
		if err != nil {
			if s.single != nil && isAway(err) {
				s.failedSince(begun, key, err)
				return away(err)
			}
			continue
		}
		if app != s.keys.recipe {
			other = &app
		}
	}
	o.doubt.Store(false)
	was := o.other.Load()
	switch {
	case other != nil:
		o.other.Store(other)
		if was == nil || *was != *other {
			s.log.Error("recipe keys belong to another app", "app", s.keys.recipe, "owner", *other)
			s.renewOthers(nil) // what the cache holds is another app's
			s.signal(nil)
		}
	case was != nil:
		o.other.Store(nil)
		s.log.Info("recipe keys belong to this app again", "app", s.keys.recipe)
		s.renewOthers(nil)
		s.signal(nil)
	}
	return nil
}

// doubtOwner has the record read again before the next call. With one primary that is so whenever the connection to it was lost: what
// answers next may be another Redis. A Cluster is looked at with every check.
func (s *Store) doubtOwner() { s.owner.doubt.Store(true) }
