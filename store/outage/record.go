package outage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"rollcall/internal/lograte"
	"rollcall/internal/spool"
	"rollcall/presence"
)

// recordVersion is the version of spool records that this release writes, and the latest that it
// reads. It rises when a reader that skips the fields it does not know would misread a record. The
// first release wrote none; its records are read as version 0.
const recordVersion = 1

// A Record is a report and when it was received.
type Record struct {
	Received presence.Millis
	Report   presence.Report
}

// A record is one report in the spool.
type record struct {
	Version  int
	Received presence.Millis `json:"Heard"`
	Report   presence.Report
}

func encodeRecord(r *presence.Report, received presence.Millis) ([]byte, error) {
	return json.Marshal(record{recordVersion, received, *r})
}

// decodeRecord reads a record of the spool. It returns an error for what this release does not
// understand: a record of a later version, or one whose report does not validate.
func decodeRecord(b []byte) (Record, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return Record{}, fmt.Errorf("read a record: %w", err)
	}
	switch {
	case r.Version < 0 || r.Version > recordVersion:
		return Record{}, fmt.Errorf("the record has version %d; this release reads up to %d", r.Version, recordVersion)
	case r.Received <= 0:
		return Record{}, errors.New("the record has no time of receipt")
	case r.Report.App == "":
		return Record{}, errors.New("the report of the record names no app")
	}
	if err := r.Report.Validate(); err != nil {
		return Record{}, err
	}
	return Record{r.Received, r.Report}, nil
}

// unreadName is the directory, within that of the spool, of the records that this release does not
// understand.
const unreadName = "unread"

// unread keeps records that this release does not understand, mostly of a later release, until one
// is started that does. They are out of the way of the others.
type unread struct {
	mu    sync.Mutex
	spool *spool.Spool // nil until it is needed
	line  lograte.Line
}

func (u *unread) len() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.spool == nil {
		return 0
	}
	return int64(u.spool.Len())
}

func (u *unread) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.spool != nil {
		_ = u.spool.Close()
	}
}

// append keeps records durably.
func (u *unread) append(dir string, bytes int64, records [][]byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.spool == nil {
		q, err := spool.Open(dir, bytes)
		if err != nil {
			return err
		}
		u.spool = q
	}
	_, err := u.spool.Append(records)
	return err
}

// setAside takes a record that this release does not understand out of the way of the others. It
// reports whether the record may be taken off the spool; else it waits there.
func (b *Box) setAside(raw []byte, why error) bool {
	err := b.unread.append(b.unreadDir(), b.cfg.Bytes, [][]byte{raw})
	if more, due := b.unread.line.Due(b.millis()); due {
		b.log.Error("spool record set aside", "why", why, "more", more, "dir", b.unreadDir(), "err", err)
	}
	return err == nil
}

// takeUnread puts those of the records set aside by an earlier process that this release
// understands back into the spool.
func (b *Box) takeUnread() error {
	u := &b.unread
	if _, err := os.Stat(b.unreadDir()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := u.append(b.unreadDir(), b.cfg.Bytes, nil); err != nil {
		return fmt.Errorf("open the spool records set aside: %w", err)
	}
	records, err := u.spool.Next(0, u.spool.Len())
	if err != nil {
		return fmt.Errorf("read the spool records set aside: %w", err)
	}
	var known, later [][]byte
	var taken []spool.ID
	for _, r := range records {
		if _, err := decodeRecord(r.Data); err != nil {
			later = append(later, r.Data)
			continue
		}
		known, taken = append(known, r.Data), append(taken, r.ID)
	}
	if len(later) > 0 {
		b.log.Warn("spool records wait for a later release", "records", len(later), "dir", b.unreadDir())
	}
	if len(known) == 0 {
		return nil
	}
	// What a crash between these steps leaves twice is delivered twice, which does no harm.
	_, err = b.spool.Append(known)
	if err == nil {
		err = u.spool.Ack(taken...)
	}
	if err != nil && !errors.Is(err, spool.ErrFull) { // then they wait for the next start
		return fmt.Errorf("take over the spool records set aside: %w", err)
	}
	return nil
}
