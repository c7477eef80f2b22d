package api

import (
	"net/http"
)

// AppHeader names the app in every answer of an operator's gate: a call may leave it out where
// there is only one.
const AppHeader = "Rollcall-App"

// Operator returns a gate to the same routes for a listener that only operators reach. The listener
// gives the rights: a call needs no key, has those of the master key and the hook key, and is held
// to no limit. It names its app as any other does, by X-LC-Id or the query parameter app, and need
// not where there is one app. Pages of other origins are refused and get no CORS: a browser near
// the listener must not act for them.
func (g *Gate) Operator() *Gate {
	deps := g.deps
	deps.Bodies, deps.Watchers, deps.Watched = nil, nil, nil
	return &Gate{cfg: g.cfg, deps: deps, Tickets: g.Tickets, stats: g.stats, operator: http.NewCrossOriginProtection()}
}

// admitOperator is [Gate.Admit] for an operator.
func (g *Gate) admitOperator(r *http.Request, rt *Route) (*Caller, error) {
	c := &Caller{Rights: Master | Hook, gate: g}
	if err := g.operator.Check(r); err != nil {
		return nil, Errorf("forbidden", "a page of another origin may not call the operator listener")
	}
	if rt.Need == NeedAnyone {
		return c, nil
	}
	id := FromRequest(r).ID
	switch apps := g.deps.Keys.Apps(); {
	case id != "":
		if c.App = g.deps.Keys.Lookup(id); c.App == nil {
			return nil, Errorf("invalid", "there is no app %.80q here", id)
		}
	case len(apps) == 1:
		c.App = apps[0]
	default:
		return nil, Errorf("invalid", "there are %d apps; say which one", len(apps))
	}
	return c, nil
}
