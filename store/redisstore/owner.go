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
	"rollcall/store/redisstore/conn"
)

//go:embed scripts/own.lua
var ownText string

var ownScript = conn.NewScript(ownText)

// An ownership is what is known of the app that the recipe's keys belong to. These keys name no
// app, and neither do the index entries of their peers, so the id of the app is recorded in Redis:
// a process that takes them for those of another app would show its people there.
type ownership struct {
	*shared

	doubt atomic.Bool // the record is read again before the next call
	// the owner, when it is another app than the one this process serves from these keys
	other atomic.Pointer[presence.AppID]
	turn  chan struct{} // held while the record is read
}

// errOwner: what Redis holds under the recipe's keys are the peers of another app.
var errOwner = fmt.Errorf("%w: the recipe's keys belong to another app", conn.ErrDown)

const ownMark = "app "

func (l *layout) owner() string { return l.own + "recipe" }

// owners returns the keys that record the owner: one for the indexes under our prefix, and one for
// the summary keys, which a process of another prefix may use too. The second is the summary key of
// the empty id, which no peer has.
func (l *layout) owners() []string {
	keys := []string{l.owner()}
	// else no summary key is the recipe's own, see collides
	if !strings.HasPrefix(l.summary, l.own) {
		keys = append(keys, l.summary)
	}
	return keys
}

// recorded returns the app that a record names; ok is false for no record.
func recorded(value string) (app presence.AppID, ok bool) {
	id, ok := strings.CutPrefix(value, ownMark)
	return presence.AppID(id), ok
}

// openOwner decides which app the recipe's keys belong to, and records it. The record counts,
// whatever the order of the apps, until a setting names another app.
func (o *ownership) openOwner(ctx context.Context, p conn.Place) error {
	if o.cfg.RecipeApp == "" && len(o.deps.Apps) == 0 {
		return nil // the keys are for no app
	}
	keys := o.keys.owners()
	var found []presence.AppID
	for _, key := range keys {
		app, known, err := o.readOwner(ctx, key)
		if err != nil && !o.passedOver(key, err) {
			return fmt.Errorf("read the owner of the recipe's keys, %q: %w", key, conn.Unavailable(err))
		}
		if known {
			found = append(found, app)
		}
	}
	owner := o.cfg.RecipeApp
	for _, app := range found {
		if owner == "" {
			owner = app
		}
		if o.cfg.RecipeApp == "" && (app != owner || !slices.Contains(o.deps.Apps, app)) {
			return o.notOurs(p, app)
		}
	}
	if owner == "" && len(o.deps.Apps) > 0 {
		owner = o.deps.Apps[0]
	}
	o.keys.recipe = owner
	for _, app := range found {
		if app != owner {
			o.log.Info("recipe keys taken from another app", "app", owner, "was", app)
			break
		}
	}
	for _, key := range keys {
		app, err := o.own(ctx, key, o.cfg.RecipeApp != "")
		switch {
		case refusedWrite(err) || o.passedOver(key, err): // recorded with a later check
		case err != nil:
			return fmt.Errorf("record the owner of the recipe's keys, %q: %w", key, conn.Unavailable(err))
		case app != owner && slices.Contains(o.deps.Apps, app) && key == o.keys.owner():
			// another process was first, with the same apps in another order
			owner, o.keys.recipe = app, app
		case app != owner:
			return o.notOurs(p, app)
		}
	}
	return nil
}

// notOurs is the refusal to start on the keys of another app.
func (o *ownership) notOurs(p conn.Place, app presence.AppID) error {
	ours := "APP"
	if len(o.deps.Apps) > 0 {
		ours = string(o.deps.Apps[0])
	}
	return conn.Misfit("the keys %.60q… in redis at %s belong to app %.80q, which is not an app of this server", o.keys.summary, p.At(), app)(fmt.Sprintf(
		"--set redis.recipe_app=%s leaves them to that app and gives this server's apps keys of their own; --set redis.recipe_app=%s takes them, and the peers in them, over for %s; or name another database, or another prefix and summary_prefix, in the URL",
		app, ours, ours))
}

// refusedWrite reports whether Redis refuses a write that may succeed later, as when its memory is
// full.
func refusedWrite(err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	return ok && !conn.IsDown(err) && !conn.IsWrongType(err) && !strings.HasPrefix(re.Error(), "NOPERM")
}

// passedOver reports whether the start goes on without a record: the primary of a Cluster that has
// it is lost, and the others are to serve.
func (o *ownership) passedOver(key string, err error) bool {
	if err == nil || !o.conn.Clustered() || !conn.IsDown(err) {
		return false
	}
	o.log.Debug("owner of the recipe's keys out of reach", "key", key, "err", err)
	return true
}

// readOwner returns the app that a record names; known is false when there is none.
func (o *ownership) readOwner(ctx context.Context, key string) (app presence.AppID, known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, ownerWithin)
	defer cancel()
	v, err := o.conn.Do(ctx, o.conn.B().Get().Key(key).Build()).ToString()
	if err != nil && !rueidis.IsRedisNil(err) {
		return "", false, err
	}
	app, known = recorded(v)
	return app, known, nil
}

// ownerWithin bounds one look at a record: the client tries a primary that is gone for as long as
// it may.
const ownerWithin = 2 * time.Second

// own records our app at key where no app is recorded, or, with force, in any case; it returns the
// app that is recorded then.
func (o *ownership) own(ctx context.Context, key string, force bool) (presence.AppID, error) {
	ctx, cancel := context.WithTimeout(ctx, ownerWithin)
	defer cancel()
	forced := ""
	if force {
		forced = "1"
	}
	results, err := o.conn.Exec(ctx, ownScript, []conn.Call{{Keys: []string{key}, Args: []string{ownMark + string(o.keys.recipe), forced}}})
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

// owned returns an error while the recipe's keys belong to another app: nothing of them is read,
// written or ended then. It asks Redis only when the record may have changed.
func (o *ownership) owned(ctx context.Context) error {
	if o.keys.recipe != "" && o.doubt.Load() {
		if err := o.lookAtOwner(ctx); err != nil {
			return err
		}
	}
	if o.other.Load() != nil {
		return errOwner
	}
	return nil
}

// lookAtOwner reads the record, and writes it when Redis has lost it. A record that Redis refuses
// to show decides nothing, nor does one of a Cluster that cannot be reached: it lies on one
// primary, and the others are to go on.
func (o *ownership) lookAtOwner(ctx context.Context) error {
	if !o.conn.Clustered() && o.conn.AnyDown() {
		return conn.ErrDown
	}
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return conn.Unavailable(ctx.Err())
	}
	if !o.doubt.Load() {
		return nil // another caller has looked meanwhile
	}
	begun, key := time.Now(), ""
	var other *presence.AppID
	for _, key = range o.keys.owners() {
		app, known, err := o.readOwner(ctx, key)
		if err == nil && !known {
			app, err = o.own(ctx, key, false)
		}
		if err != nil {
			if !o.conn.Clustered() && conn.IsDown(err) {
				o.conn.FailedSince(begun, key, err)
				return conn.Unavailable(err)
			}
			continue
		}
		if app != o.keys.recipe {
			other = &app
		}
	}
	o.doubt.Store(false)
	was := o.other.Load()
	switch {
	case other != nil:
		o.other.Store(other)
		if was == nil || *was != *other {
			o.log.Error("recipe keys belong to another app", "app", o.keys.recipe, "owner", *other)
			o.conn.RenewOthers(nil) // what the cache holds is another app's
			o.signal(nil)
		}
	case was != nil:
		o.other.Store(nil)
		o.log.Info("recipe keys belong to this app again", "app", o.keys.recipe)
		o.conn.RenewOthers(nil)
		o.signal(nil)
	}
	return nil
}

// doubtOwner has the record read again before the next call. With one primary that is so whenever
// the connection to it was lost: what answers next may be another Redis. A Cluster is looked at
// with every check.
func (o *ownership) doubtOwner() { o.doubt.Store(true) }
