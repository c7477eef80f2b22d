package main

import (
	"errors"
	"fmt"
	"strings"

	"rollcall/server"
	"rollcall/server/config"
	"rollcall/transfer"
)

type restoreCmd struct {
	Data string `placeholder:"DIR" help:"Data directory to make; it must be empty or not exist. Default ./rollcall-data (ROLLCALL_DATA)."`
	File string `arg:"" help:"What rollcall backup wrote; - for standard input."`
}

// Help is shown below the flags.
func (restoreCmd) Help() string {
	return `Reads the backup to its end before anything counts: one that was cut or altered leaves the directory empty. Start the server on the directory afterwards.`
}

// Run makes a data directory of a backup.
func (c *restoreCmd) Run(e *env) error {
	dir := (&listening{Data: c.Data}).dataDir(e.environ)
	in, err := openInput(e, c.File)
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := transfer.NewReader(in)
	if e.ctx.Err() != nil {
		return fmt.Errorf("interrupted; nothing was written to %s", dir)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if r.Header.Kind != transfer.KindBackup {
		return &config.Hinted{Err: fmt.Errorf("%s is an export, which has no keys", c.File), Hint: "\"rollcall import\" merges it into a running server"}
	}
	p := newProgress(e, "restore", r.Header.Known())
	done, err := server.RestoreData(e.ctx, dir, r, p.at)
	took := p.done()
	var file *transfer.FileError
	switch {
	case e.ctx.Err() != nil:
		return fmt.Errorf("interrupted; %s is empty as before", dir)
	case errors.As(err, &file):
		return &config.Hinted{Err: fmt.Errorf("%s: %w", c.File, file), Hint: dir + " is empty as before; take another backup"}
	case err != nil:
		return err
	}
	what := many(done.Peers, "peer")
	if len(done.Files) > 0 {
		what += " and " + strings.Join(done.Files, ", ")
	}
	fmt.Fprintf(e.stderr, "restored %s, as of %s, to %s, %s\n", what, stamp(r.Header.Time), dir, took)
	return nil
}
