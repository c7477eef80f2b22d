package operator

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"rollcall/ask"
	"rollcall/intake"
	"rollcall/internal/api"
	"rollcall/presence"
)

// sourcePage is how many online peers one call looks at: it bounds the work that goes on when the
// caller stops.
const sourcePage = 1000

// SourcePage says what one call of POST /source/end did.
type SourcePage struct {
	App    presence.AppID  `json:"app"`
	Before presence.Millis `json:"before"` // to be sent with the next call
	Looked int             `json:"looked"` // online peers
	intake.SourceEnded
	Cursor string `json:"cursor"` // of the next call; empty when all have been looked at
}

// endSource answers POST /source/end?source=…&app=…&before=…&dry=1&cursor=…: it ends what a source
// said of one page of an app's online peers.
func (d *Door) endSource(w http.ResponseWriter, r *http.Request) {
	page, err := d.sourcePage(r)
	switch {
	case err == nil:
		api.WriteJSON(w, http.StatusOK, page)
	case errors.Is(err, presence.ErrInvalid):
		api.WriteError(w, api.Errorf("invalid", "%v", err))
	case errors.Is(err, presence.ErrFull):
		api.WriteError(w, api.Errorf("full", "a limit of the store is reached").WithRetry(5*time.Second))
	case errors.Is(err, presence.ErrUnavailable), r.Context().Err() != nil:
		api.WriteError(w, api.Errorf("unavailable", "the store did not answer; sending again is safe").WithRetry(time.Second))
	default:
		api.WriteError(w, err)
	}
}

func (d *Door) sourcePage(r *http.Request) (*SourcePage, error) {
	q := r.URL.Query()
	app, err := d.onlyApp(presence.AppID(q.Get("app")))
	if err != nil {
		return nil, err
	}
	e := intake.SourceEnd{App: app, Source: presence.Source(q.Get("source")), Before: d.Now(), Dry: q.Get("dry") == "1"}
	if v := q.Get("before"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return nil, api.Errorf("invalid", "before is not in Unix milliseconds")
		}
		e.Before = presence.Millis(n)
	}
	if err := e.Check(d.Now()); err != nil {
		return nil, err
	}
	peers, next, err := d.Ask.List(r.Context(), ask.View{App: app, Viewer: ask.Server}, q.Get("cursor"), sourcePage)
	if err != nil {
		return nil, err
	}
	done, err := d.Intake.EndSource(r.Context(), &e, peers)
	if err != nil {
		return nil, err
	}
	return &SourcePage{App: app, Before: e.Before, Looked: len(peers), SourceEnded: done, Cursor: next}, nil
}

// onlyApp returns the app that a call names, or the only one there is.
func (d *Door) onlyApp(named presence.AppID) (presence.AppID, error) {
	apps := d.Apps()
	for _, app := range apps {
		if app == named || named == "" && len(apps) == 1 {
			return app, nil
		}
	}
	if named == "" {
		return "", api.Errorf("invalid", "there are %d apps; say which one", len(apps))
	}
	return "", api.Errorf("invalid", "there is no app %.80q here", named)
}
