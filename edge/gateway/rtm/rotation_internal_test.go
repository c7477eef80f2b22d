package rtm

import (
	"testing"

	"rollcall/internal/api"
)

// A session token brings its session back after the master key was replaced, until the old key is
// gone.
func TestSessionTokensOutliveARotation(t *testing.T) {
	s := &Server{cfg: DefaultConfig()}
	text, _ := s.newToken(&api.App{ID: "one", MasterKey: "before"}, token{peer: "tom", session: "session"}, 1)
	for _, tt := range []struct {
		app  api.App
		good bool
	}{
		{api.App{ID: "one", MasterKey: "before"}, true},
		{api.App{ID: "one", MasterKey: "after", Old: api.OldKeys{MasterKey: "before"}}, true},
		{api.App{ID: "one", MasterKey: "after"}, false},
		{api.App{ID: "two", MasterKey: "after", Old: api.OldKeys{MasterKey: "before"}}, false},
	} {
		if got, err := s.open(text, &tt.app, "tom", 2); (err == nil) != tt.good || tt.good && got.session != "session" {
			t.Errorf("%v with the old key %q: %+v, %v", tt.app, tt.app.Old.MasterKey, got, err)
		}
	}
}
