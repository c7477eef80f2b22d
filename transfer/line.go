package transfer

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"

	"rollcall/presence"
)

// Version is that of the lines this program writes, and the latest it reads.
const Version = 1

// The kinds of files.
const (
	KindExport = "export"
	KindBackup = "backup" // states as they are kept, and files of the data directory
)

// MaxLine bounds one line, in bytes.
const MaxLine = 4 << 20

// A Header is the first line.
type Header struct {
	Kind    string          `json:"rollcall"`
	Version int             `json:"version"`
	Time    presence.Millis `json:"time"` // when the file was begun
	Release string          `json:"release"`
	Apps    []App           `json:"apps"` // whose peers are in it
}

// An App is an app and how many of its peers were known when the file was begun, as far as that was
// counted.
type App struct {
	ID    presence.AppID `json:"id"`
	Known int64          `json:"known"`
}

// Known is how many peers to expect.
func (h *Header) Known() (n int64) {
	for _, a := range h.Apps {
		n += a.Known
	}
	return n
}

// A Line is any line but the first: a peer, a file of the data directory, or the end.
type Line struct {
	App  presence.AppID  `json:"app,omitempty"`
	Peer presence.PeerID `json:"peer,omitempty"`
	// What the peer is, for readers. Only State is imported.
	Status   string          `json:"status,omitempty"`
	Cause    string          `json:"cause,omitempty"`
	Since    presence.Millis `json:"since,omitempty"`
	LastSeen presence.Millis `json:"last_seen,omitempty"`
	State    []byte          `json:"state,omitempty"` // packed, see [presence.State.Pack]

	File    string `json:"file,omitempty"`
	Content []byte `json:"content,omitempty"`

	End   bool  `json:"end,omitempty"`
	Peers int64 `json:"peers,omitempty"`
	// Peers whose states could not be read; they are not in the file.
	Unread int64  `json:"unread,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // of all lines before this one
	Failed string `json:"failed,omitempty"` // in place of the end: why there is no more
}

// Key returns the peer of l.
func (l *Line) Key() presence.Key { return presence.Key{App: l.App, Peer: l.Peer} }

// A Writer writes a file. Its first error stays.
type Writer struct {
	w      *bufio.Writer
	sum    hash.Hash
	peers  int64
	Unread int64 // stands in the last line
	err    error
}

// NewWriter writes the header to w.
func NewWriter(w io.Writer, h Header) *Writer {
	t := &Writer{w: bufio.NewWriterSize(w, 64<<10), sum: sha256.New()}
	h.Version = Version
	if h.Apps == nil {
		h.Apps = []App{}
	}
	t.write(h)
	return t
}

func (w *Writer) write(v any) {
	if w.err != nil {
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		w.err = err
		return
	}
	w.raw(append(b, '\n'))
}

func (w *Writer) raw(line []byte) {
	if w.err != nil {
		return
	}
	w.sum.Write(line)
	_, w.err = w.w.Write(line)
}

// Peer writes a peer.
func (w *Writer) Peer(key presence.Key, packed []byte) error {
	s := presence.PeekSummary(packed)
	l := Line{App: key.App, Peer: key.Peer, Status: s.Status.String(), Since: s.Since, LastSeen: s.LastSeen, State: packed}
	if s.Status == presence.Offline {
		l.Cause = s.Cause.String()
	}
	w.write(&l)
	w.peers++
	return w.err
}

// File writes a file of the data directory.
func (w *Writer) File(name string, content []byte) error {
	w.write(&Line{File: name, Content: content})
	return w.err
}

// Copy writes a line as it was read.
func (w *Writer) Copy(l *Line, raw []byte) error {
	w.raw(raw)
	if l.Peer != "" {
		w.peers++
	}
	return w.err
}

// Flush writes what is still in memory.
func (w *Writer) Flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

// Fail writes, in place of the end, why there is no more.
func (w *Writer) Fail(why error) {
	w.write(&Line{Failed: why.Error()})
	_ = w.Flush() // the file is not whole, whether it says why or not
}

// Close writes the end. What was written before is whole only with it.
func (w *Writer) Close() (peers int64, err error) {
	w.write(&Line{End: true, Peers: w.peers, Unread: w.Unread, SHA256: hex.EncodeToString(w.sum.Sum(nil))})
	return w.peers, w.Flush()
}
