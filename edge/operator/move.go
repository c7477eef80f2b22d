package operator

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"rollcall/ask"
	"rollcall/internal/api"
	"rollcall/presence"
	"rollcall/transfer"
)

const (
	// moveStall is how long a caller may take to read the next part of an export, or to send the
	// next part of an import.
	moveStall = 5 * time.Minute
	// maxImport bounds the body of one import; a longer file is sent in parts.
	maxImport = 16 << 20
)

// An ImportAnswer is what one import did, and what is wrong with its file, if anything is.
type ImportAnswer struct {
	transfer.Result
	Code string `json:"code,omitempty"`
	Err  string `json:"error,omitempty"`
	Line int    `json:"line,omitempty"`
}

// export answers GET /export and GET /backup. An answer without its last line is not whole.
func (d *Door) export(kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if kind == transfer.KindBackup && d.Store.Shared {
			api.WriteError(w, api.Errorf("invalid", "the state is in Redis: back that up by its own means, or use \"rollcall export\""))
			return
		}
		apps := d.Apps()
		if app := presence.AppID(r.URL.Query().Get("app")); app != "" {
			if !slices.Contains(apps, app) {
				api.WriteError(w, api.Errorf("invalid", "this server does not have the app %q", app))
				return
			}
			apps = []presence.AppID{app}
		}
		if d.Service.Age() > 0 {
			api.WriteError(w, api.Errorf("unavailable", "a part of the store is out of reach"))
			return
		}
		h := transfer.Header{Kind: kind, Time: d.Now(), Release: d.Version.Release, Apps: d.known(r.Context(), apps)}
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("Cache-Control", "no-store")
		out := &patientWriter{w, http.NewResponseController(w)}
		if _, err := transfer.Export(r.Context(), d.Service, out, h); err != nil {
			panic(http.ErrAbortHandler) // the last line has said so, if it could be written
		}
	}
}

// known returns apps with how many peers each knows, as far as that can be counted soon.
func (d *Door) known(ctx context.Context, apps []presence.AppID) []transfer.App {
	ctx, cancel := d.Store.Patience(ctx)
	defer cancel()
	list := make([]transfer.App, len(apps))
	for i, id := range apps {
		list[i].ID = id
		if c, err := d.Ask.Counts(ctx, ask.View{App: id, Viewer: ask.Server}); err == nil {
			list[i].Known = c.Known
		}
	}
	return list
}

// A patientWriter gives each part of an answer its own time to be read.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write writes p and sends it.
func (w *patientWriter) Write(p []byte) (int, error) {
	// A writer that has none has no slow reader.
	_ = w.control.SetWriteDeadline(time.Now().Add(moveStall))
	n, err := w.ResponseWriter.Write(p)
	if err == nil {
		err = w.control.Flush()
	}
	return n, err
}

// importFile answers POST /import.
func (d *Door) importFile(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	_, _ = control.SetReadDeadline(time.Now().Add(moveStall)), control.SetWriteDeadline(time.Now().Add(2*moveStall))
	var a ImportAnswer
	f, err := transfer.NewReader(http.MaxBytesReader(w, r.Body, maxImport))
	if err == nil {
		run := transfer.Import{
			To: d.Service, Now: d.Now, Tombstones: d.Service.Rules().Tombstones,
			Has: func(app presence.AppID) bool { return slices.Contains(d.Apps(), app) },
		}
		a.Result, err = run.Run(r.Context(), f)
	}
	status := a.refuse(err)
	d.imports.note(&a)
	writeJSON(w, status, a)
}

// refuse takes err into a, and returns the status of the answer.
func (a *ImportAnswer) refuse(err error) int {
	var file *transfer.FileError
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return http.StatusOK
	case errors.Is(err, presence.ErrUnavailable), errors.Is(err, presence.ErrFull):
		a.Code, a.Err = "unavailable", err.Error()
		return http.StatusServiceUnavailable
	case errors.As(err, &large):
		a.Code, a.Err = "too_large", "the body is larger than 16 MiB; send the file in parts, as \"rollcall import\" does"
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &file):
		a.Code, a.Err, a.Line = file.Code, file.Text, file.Line
		return http.StatusUnprocessableEntity
	}
	a.Code, a.Err = "invalid", err.Error()
	return http.StatusBadRequest
}
