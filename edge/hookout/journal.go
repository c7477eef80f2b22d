package hookout

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
)

// journal keeps what waits in a file of lines: "+" and an event that is to be delivered, "-" and the number of one that was. It
// is written anew, without what was delivered, when most of it is.
type journal struct {
	path string // empty: nothing is kept
	file *os.File
	dead int  // lines that no longer count
	torn bool // a write failed, and may have left part of itself behind
	// later are lines that only a later release understands; every new file begins with them.
	later [][]byte
	top   uint64 // the greatest number of an event in the file that was opened
}

// compactAt is how many dead lines are worth writing the file anew.
const compactAt = 10_000

// openJournal returns the events that wait in path. A last line that is cut short, as a crash leaves it, does not count. Other
// lines that cannot be read, as a loss of power may leave them, are passed over; the file is kept beside the new one then.
func openJournal(path string, log *slog.Logger) (*journal, []Event, error) {
	j := &journal{path: path}
	if path == "" {
		return j, nil, nil
	}
	waiting, bad, err := j.read()
	if len(j.later) > 0 {
		log.Warn("hooks wait for a later release", "hooks", len(j.later), "journal", path)
	}
	if err == nil && bad > 0 {
		log.Warn("the journal of hooks has lines that cannot be read", "lines", bad, "kept", path+".damaged")
		err = os.Rename(path, path+".damaged")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the journal of hooks: %w", err)
	}
	return j, waiting, j.rewrite(waiting)
}

// read returns the events that wait and how many lines cannot be read, and takes note of those for a later release.
func (j *journal) read() (waiting []Event, bad int, err error) {
	b, err := os.ReadFile(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	var order []uint64
	events := map[uint64]Event{}
	later := map[uint64][]byte{}
	for line := range bytes.Lines(b) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		sign, rest := byte(0), line
		if len(line) > 1 {
			sign, rest = line[0], line[1:]
		}
		var event Event
		seq, err := strconv.ParseUint(string(rest), 10, 64)
		switch {
		case sign == '+' && json.Unmarshal(rest, &event) == nil:
			order = append(order, event.Seq)
			j.top = max(j.top, event.Seq)
			if event.known() {
				events[event.Seq] = event
			} else {
				later[event.Seq] = bytes.Clone(line)
			}
		case sign == '-' && err == nil:
			delete(events, seq)
			delete(later, seq)
		default:
			bad++
		}
	}
	for _, seq := range order {
		if e, ok := events[seq]; ok {
			waiting = append(waiting, e)
		}
		if line, ok := later[seq]; ok {
			j.later = append(j.later, line)
			delete(later, seq)
		}
	}
	return waiting, bad, nil
}

// rewrite puts a file with waiting alone in the place of the old one.
func (j *journal) rewrite(waiting []Event) error {
	f, err := os.OpenFile(j.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the journal of hooks: %w", err)
	}
	w := bufio.NewWriter(f)
	for _, line := range j.later {
		_, _ = w.Write(append(line[:len(line):len(line)], '\n'))
	}
	for i := range waiting {
		b, err := json.Marshal(&waiting[i])
		if err != nil {
			return errors.Join(err, f.Close())
		}
		_, _ = w.Write(append(append([]byte{'+'}, b...), '\n')) // Flush tells
	}
	err = w.Flush()
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(j.path+".new", j.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(j.path))
	}
	if err != nil {
		j.torn = true // until a whole one is in place
		return errors.Join(fmt.Errorf("write the journal of hooks: %w", err), f.Close())
	}
	if j.file != nil {
		_ = j.file.Close() // the file is gone already
	}
	j.file, j.dead, j.torn = f, 0, false
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// write appends new events and the numbers of delivered ones, and syncs. After an error the file is to be written anew.
func (j *journal) write(events []Event, delivered []uint64) error {
	if j.file == nil {
		return nil
	}
	var out bytes.Buffer
	for i := range events {
		b, err := json.Marshal(&events[i])
		if err != nil {
			return fmt.Errorf("write the journal of hooks: %w", err)
		}
		out.WriteByte('+')
		out.Write(b)
		out.WriteByte('\n')
	}
	for _, seq := range delivered {
		out.WriteString("-" + strconv.FormatUint(seq, 10) + "\n")
	}
	j.dead += 2 * len(delivered)
	_, err := j.file.Write(out.Bytes())
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.torn = true
		return fmt.Errorf("write the journal of hooks: %w", err)
	}
	return nil
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}
