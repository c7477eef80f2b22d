package transfer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	"rollcall/presence"
)

// The codes of a [FileError]. They do not change.
const (
	CodeFormat   = "not_a_file"  // the first line is not that of a file of rollcall
	CodeVersion  = "version"     // a later release wrote the file
	CodeLine     = "bad_line"    // a line is not what it should be
	CodeState    = "bad_state"   // a line has a state that is none
	CodeNewer    = "newer_state" // a later release wrote the state in a line
	CodeApp      = "unknown_app" // the server does not have the app of a line
	CodeCut      = "cut"         // the file ends before its last line
	CodeChecksum = "checksum"    // the file was altered
)

// A FileError says what is wrong with a file, and where.
type FileError struct {
	Line int    `json:"line"`
	Code string `json:"code"`
	Text string `json:"error"`
}

// Error returns what is wrong.
func (e *FileError) Error() string { return fmt.Sprintf("line %d: %s (%s)", e.Line, e.Text, e.Code) }

// A Reader reads a file.
type Reader struct {
	Header Header
	// Unread is how many peers the file says are missing from it; known after the last line.
	Unread int64
	s      *bufio.Scanner
	sum    hash.Hash
	line   Line
	n      int
	peers  int64
	ended  bool
}

// NewReader reads the header from r.
func NewReader(r io.Reader) (*Reader, error) {
	t := &Reader{s: bufio.NewScanner(r), sum: sha256.New()}
	t.s.Buffer(make([]byte, 64<<10), MaxLine)
	t.s.Split(whole)
	raw, err := t.next()
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(raw, &t.Header) != nil || t.Header.Kind != KindExport && t.Header.Kind != KindBackup || t.Header.Version < 1 {
		return nil, t.errorf(CodeFormat, "this is no export or backup of rollcall")
	}
	if t.Header.Version > Version {
		return nil, t.errorf(CodeVersion, "the file has version %d; this release reads up to %d", t.Header.Version, Version)
	}
	if t.Header.Time <= 0 {
		return nil, t.errorf(CodeFormat, "the first line has no time")
	}
	t.sum.Write(raw)
	return t, nil
}

// N returns the number of the line that was read last, from 1.
func (r *Reader) N() int { return r.n }

func (r *Reader) errorf(code, format string, args ...any) error {
	return &FileError{r.n, code, fmt.Sprintf(format, args...)}
}

// whole splits lines that end in a line feed, which stays. What follows the last line feed is no
// line.
func whole(data []byte, end bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i+1], nil
	}
	if end {
		return len(data), nil, nil
	}
	return 0, nil, nil
}

func (r *Reader) next() ([]byte, error) {
	r.n++
	if r.s.Scan() {
		return r.s.Bytes(), nil
	}
	switch err := r.s.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, r.errorf(CodeLine, "the line has more than %d bytes", MaxLine)
	case errors.Is(err, io.ErrUnexpectedEOF):
	case err != nil:
		return nil, fmt.Errorf("read line %d: %w", r.n, err)
	}
	return nil, r.errorf(CodeCut, "the file is cut off here")
}

// Next returns the next peer or file, and its line; both are valid until the next call. After the
// last it checks the end and returns io.EOF.
func (r *Reader) Next() (*Line, []byte, error) {
	if r.ended {
		return nil, nil, io.EOF
	}
	raw, err := r.next()
	if err != nil {
		return nil, nil, err
	}
	r.line = Line{State: r.line.State[:0]}
	l := &r.line
	if err := json.Unmarshal(raw, l); err != nil {
		return nil, nil, r.errorf(CodeLine, "this is no JSON object of a peer: %v", err)
	}
	switch {
	case l.End:
		return nil, nil, r.end(l)
	case l.Failed != "":
		return nil, nil, r.errorf(CodeCut, "the export failed here: %s", l.Failed)
	case l.Peer != "":
		r.peers++
	case l.File == "":
		return nil, nil, r.errorf(CodeLine, "the line names no peer, no file and no end")
	}
	r.sum.Write(raw)
	return l, raw, nil
}

// end checks the last line and returns io.EOF when the file is whole.
func (r *Reader) end(l *Line) error {
	r.ended, r.Unread = true, l.Unread
	if l.Peers != r.peers {
		return r.errorf(CodeChecksum, "the file has %d peers, and its last line says %d", r.peers, l.Peers)
	}
	if hex.EncodeToString(r.sum.Sum(nil)) != l.SHA256 {
		return r.errorf(CodeChecksum, "the file is not as it was written: the checksum in its last line is another")
	}
	if r.s.Scan() || r.s.Err() != nil {
		r.n++
		return r.errorf(CodeLine, "something follows the last line")
	}
	return io.EOF
}

// Peer returns the peer of l, the last line read, and its state.
func (r *Reader) Peer(l *Line) (presence.Key, presence.State, error) {
	var st presence.State
	err := presence.CheckApp(l.App)
	if err == nil {
		err = presence.CheckKnown(l.Peer)
	}
	if err != nil {
		return l.Key(), st, r.errorf(CodeLine, "%v", err)
	}
	switch err = st.Unpack(l.State); {
	case errors.Is(err, presence.ErrNewer):
		return l.Key(), st, r.errorf(CodeNewer, "peer %q: %v", l.Peer, err)
	case err != nil:
		return l.Key(), st, r.errorf(CodeState, "peer %q: %v", l.Peer, err)
	}
	return l.Key(), st, nil
}
