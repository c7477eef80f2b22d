package operator

import (
	"errors"
	"net/http"

	"rollcall/internal/configload"
)

// Settings are the settings in force, without secrets.
type Settings struct {
	Settings []configload.Setting `json:"settings"`
}

// Reloaded is what a reload did.
type Reloaded struct {
	Changed   []configload.Change `json:"changed"`    // in force now
	NextStart []configload.Change `json:"next_start"` // differ, and wait for the next start
}

// A Refusal says why a reload changed nothing.
type Refusal struct {
	Code     string              `json:"code"`
	Error    string              `json:"error"`
	Mistakes configload.Problems `json:"mistakes,omitempty"`
}

// reload answers POST /reload.
func (d *Door) reload(w http.ResponseWriter, r *http.Request) {
	done, err := d.Reload(r.Context())
	if err == nil {
		writeJSON(w, http.StatusOK, done)
		return
	}
	refusal := Refusal{Code: "invalid", Error: "the configuration has mistakes; nothing was changed"}
	if !errors.As(err, &refusal.Mistakes) {
		refusal.Error = err.Error()
	}
	writeJSON(w, http.StatusUnprocessableEntity, refusal)
}
