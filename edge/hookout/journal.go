package hookout

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// journal keeps what waits in a file of lines: "+" and an event that is to be delivered, "-" and the number of one that was. It
// is written anew, without what was delivered, when most of it is.
type journal struct {
	path string // empty: nothing is kept
	file *os.File
	dead int // lines that no longer count
}

// compactAt is how many dead lines are worth writing the file anew.
const compactAt = 10_000

// openJournal returns the events that wait in path. A last line that is cut short, as a crash leaves it, does not count.
func openJournal(path string) (*journal, []Event, error) {
	j := &journal{path: path}
	if path == "" {
		return j, nil, nil
	}
	waiting, err := readJournal(path)
	if err != nil {
		return nil, nil, err
	}
	return j, waiting, j.rewrite(waiting)
}

func readJournal(path string) ([]Event, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal of hooks: %w", err)
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	var order []uint64
	events := map[uint64]Event{}
	n := 0
	for line := range bytes.Lines(b) {
		n++
		line = bytes.TrimSuffix(line, []byte("\n"))
		switch {
		case len(line) > 1 && line[0] == '+':
			var e Event
			if err := json.Unmarshal(line[1:], &e); err != nil {
				return nil, fmt.Errorf("journal of hooks %s, line %d: %w", path, n, err)
			}
			order = append(order, e.Seq)
			events[e.Seq] = e
		case len(line) > 1 && line[0] == '-':
			seq, err := strconv.ParseUint(string(line[1:]), 10, 64)
			if err != nil {
				return nil, fmt.Errorf("journal of hooks %s, line %d: %w", path, n, err)
			}
			delete(events, seq)
		default:
			return nil, fmt.Errorf("journal of hooks %s, line %d: neither + nor -", path, n)
		}
	}
	var waiting []Event
	for _, seq := range order {
		if e, ok := events[seq]; ok {
			waiting = append(waiting, e)
		}
	}
	return waiting, nil
}

// rewrite puts a file with waiting alone in the place of the old one.
func (j *journal) rewrite(waiting []Event) error {
	f, err := os.OpenFile(j.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the journal of hooks: %w", err)
	}
	w := bufio.NewWriter(f)
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
	if err != nil {
		return errors.Join(fmt.Errorf("write the journal of hooks: %w", err), f.Close())
	}
	if j.file != nil {
		_ = j.file.Close() // the file is gone already
	}
	j.file, j.dead = f, 0
	return nil
}

// write appends new events and the numbers of delivered ones, and syncs.
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
	if _, err := j.file.Write(out.Bytes()); err != nil {
		return fmt.Errorf("write the journal of hooks: %w", err)
	}
	if err := j.file.Sync(); err != nil {
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
