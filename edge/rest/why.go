package rest

import (
	"net/http"

	"rollcall/internal/native"
)

func (d *Door) why(w http.ResponseWriter, r *http.Request, c *native.Caller) error {
	return native.Refuse("not_found", "not yet")
}
