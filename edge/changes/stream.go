package changes

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"rollcall/feed"
)

// stream writes pages as events until the reader, the feed or the app ends.
func (d *Door) stream(w http.ResponseWriter, r *http.Request, rc *http.ResponseController, read *reading) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx
	if r.ProtoMajor < 2 {            // over HTTP/2 it would end every other call of the connection
		h.Set("Connection", "close") // a stream is the last thing on its connection
	}
	w.WriteHeader(http.StatusOK)
	// Readers wait for different times before they connect again, so that a restart does not bring
	// all back at once.
	b := strconv.AppendInt([]byte("retry: "), 1000+rand.Int64N(4000), 10)
	b = append(b, "\n\n"...)
	for {
		if d.write(w, rc, b) != nil {
			return
		}
		page, err := d.read(r, read, min(read.limit, usualPage), d.cfg.Mark)
		switch {
		case errors.Is(err, context.Canceled):
			return
		case errors.Is(err, feed.ErrGone):
			_ = d.write(w, rc, []byte("event: bye\ndata: {\"reason\":\"expired\"}\n\n"))
			return
		case err != nil:
			_ = d.write(w, rc, []byte("event: bye\ndata: {\"reason\":\"shutdown\"}\n\n"))
			return
		}
		read.from = page.Cursor
		b = appendEvent(b[:0], &page, d.seal(read.app, &page))
	}
}

// appendEvent appends page as an event whose id is its cursor.
func appendEvent(b []byte, page *feed.Page, cursor string) []byte {
	b = append(append(b, "event: changes\nid: "...), cursor...)
	b = appendPage(append(b, "\ndata: "...), page, cursor)
	return append(b, "\n\n"...)
}

// write writes b; the reader has the stall time to take it.
func (d *Door) write(w http.ResponseWriter, rc *http.ResponseController, b []byte) error {
	_ = rc.SetWriteDeadline(time.Now().Add(d.cfg.Stall))
	if _, err := w.Write(b); err != nil {
		return err
	}
	return rc.Flush()
}
