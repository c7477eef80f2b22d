package logs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
)

// Options say how [New] writes a log.
type Options struct {
	JSON  bool
	Level slog.Leveler
	// Peers is plain, hash or off: how attributes that name a person are written.
	Peers string
}

// personal are the keys of attributes that name a person: a peer, or a session or a device of one.
var personal = map[string]bool{"peer": true, "session": true, "device": true, "member": true}

// New returns a logger that writes to w. In JSON every line has an event, see [EventOf].
func New(w io.Writer, o Options) *slog.Logger {
	opts := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: o.replace}
	if o.JSON {
		return slog.New(named{slog.NewJSONHandler(w, opts)})
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// replace keeps what names a person out of the log, as o says. It is called for every attribute.
func (o *Options) replace(_ []string, a slog.Attr) slog.Attr {
	if !personal[a.Key] || o.Peers != "hash" && o.Peers != "off" {
		return a
	}
	if o.Peers == "off" {
		return slog.Attr{}
	}
	return slog.String(a.Key, HashOf(a.Value.String()))
}

// HashOf returns what stands for an id in a log that hashes ids: the first 12 hexadecimal digits of
// its SHA-256. Lines of one peer can be found by it; an id that can be guessed can be
// tested against it.
func HashOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:6])
}

// A named handler adds the event of each line.
type named struct{ slog.Handler }

// Handle writes r with its event.
func (h named) Handle(ctx context.Context, r slog.Record) error {
	r = r.Clone()
	r.AddAttrs(slog.String("event", EventOf(r.Message)))
	return h.Handler.Handle(ctx, r)
}

// WithAttrs is that of the handler below.
func (h named) WithAttrs(attrs []slog.Attr) slog.Handler { return named{h.Handler.WithAttrs(attrs)} }

// WithGroup is that of the handler below.
func (h named) WithGroup(name string) slog.Handler { return named{h.Handler.WithGroup(name)} }
