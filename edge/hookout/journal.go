package hookout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"

	"rollcall/internal/disk"
	"rollcall/internal/outbox"
	"rollcall/internal/spool"
)

// openJournal returns what keeps waiting events over a restart, in the directory path, and those
// that wait there. Those that only a later release understands stay. Without a path nothing is
// kept.
func openJournal(path string, log *slog.Logger) (*spool.Spool, []outbox.Kept[Event], error) {
	if path == "" {
		return nil, nil, nil
	}
	q, waiting, err := readJournal(path, log)
	if err != nil {
		return nil, nil, fmt.Errorf("read the hook journal: %w", err)
	}
	return q, waiting, nil
}

func readJournal(path string, log *slog.Logger) (*spool.Spool, []outbox.Kept[Event], error) {
	first := path + ".v1"
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
		if err := os.Rename(path, first); err != nil {
			return nil, nil, err
		}
	}
	q, err := spool.Open(path, 0)
	if err != nil {
		return nil, nil, err
	}
	if err = takeFirst(q, first, path+".damaged", log); err != nil {
		return nil, nil, errors.Join(err, q.Close())
	}
	if n := q.Lost(); n > 0 {
		log.Warn("hook journal had a torn end", "bytes", n, "journal", path)
	}
	waiting, later, err := outbox.Waiting(q, func(data []byte) (*Event, bool) {
		e := &Event{}
		return e, json.Unmarshal(data, e) == nil && e.known()
	})
	if err != nil {
		return nil, nil, errors.Join(err, q.Close())
	}
	if later > 0 {
		log.Warn("hooks wait for a later release", "hooks", later, "journal", path)
	}
	return q, waiting, nil
}

// takeFirst moves what waits in a journal of release 0.1 into the spool: a file of lines, "+" and
// an event, "-" and the number of one that was delivered. A last line that is cut short, as a crash
// leaves it, does not count. Other lines that cannot be read cost no others; the file is kept as
// damaged then.
func takeFirst(q *spool.Spool, name, damaged string, log *slog.Logger) error {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	taken, err := q.Next(0, q.Len())
	if err != nil {
		return err
	}
	had := map[string]bool{} // by a process that ended before it removed the file
	for _, r := range taken {
		had[string(r.Data)] = true
	}
	lines, bad := waitingLines(b)
	var records [][]byte
	for _, line := range lines {
		if !had[string(line)] {
			records = append(records, line)
		}
	}
	if _, err := q.Append(records); err != nil {
		return err
	}
	if bad > 0 {
		log.Warn("hook journal has unreadable lines", "lines", bad, "kept", damaged)
		err = os.Rename(name, damaged)
	} else {
		err = os.Remove(name)
	}
	return errors.Join(err, disk.OS{}.SyncDir(filepath.Dir(name)))
}

// waitingLines returns the events that are not delivered, as they are written, and how many lines
// cannot be read.
func waitingLines(b []byte) (events [][]byte, bad int) {
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	var order []uint64
	bySeq := map[uint64][]byte{}
	for line := range bytes.Lines(b) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		sign, rest := byte(0), line
		if len(line) > 1 {
			sign, rest = line[0], line[1:]
		}
		var event struct {
			Event
			Seq uint64 `json:"seq"`
		}
		seq, err := strconv.ParseUint(string(rest), 10, 64)
		switch {
		case sign == '+' && json.Unmarshal(rest, &event) == nil:
			order = append(order, event.Seq)
			bySeq[event.Seq] = rest
		case sign == '-' && err == nil:
			delete(bySeq, seq)
		default:
			bad++
		}
	}
	for _, seq := range order {
		if event, ok := bySeq[seq]; ok {
			events = append(events, event)
			delete(bySeq, seq)
		}
	}
	return events, bad
}
