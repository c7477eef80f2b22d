package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"rollcall/edge/rest"
	"rollcall/internal/disk"
	"rollcall/presence"
	"rollcall/server/config"
	"rollcall/store/embedded"
	"rollcall/transfer"
)

// KeptFiles are the files of a data directory that a backup has beside the state.
func KeptFiles() []string { return []string{config.KeysFile, rest.HistoryFile} }

// restoringDir holds, below the data directory, what is not yet restored in whole.
const restoringDir = "restoring"

// Restored is what a backup had.
type Restored struct {
	Peers int64
	Files []string
}

// RestoreData makes dir, which must be empty or not there, the data directory that r is the backup
// of. seen is called with how many peers were read. Nothing counts until the backup has been read
// to its end and found whole: else dir is left empty.
func RestoreData(ctx context.Context, dir string, r *transfer.Reader, seen func(peers int64)) (done Restored, err error) {
	if err := vacant(dir); err != nil {
		return done, err
	}
	aside := filepath.Join(dir, restoringDir)
	if err := errors.Join(os.RemoveAll(aside), os.MkdirAll(aside, 0o700)); err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(aside)) }()
	next := func() (key presence.Key, st presence.State, err error) {
		l, _, err := r.Next()
		for err == nil && l.Peer == "" {
			if !slices.Contains(KeptFiles(), l.File) {
				return key, st, &transfer.FileError{Line: r.N(), Code: transfer.CodeLine, Text: fmt.Sprintf("no backup has a file %q", l.File)}
			}
			if err := os.WriteFile(filepath.Join(aside, l.File), l.Content, 0o600); err != nil {
				return key, st, err
			}
			done.Files = append(done.Files, l.File)
			l, _, err = r.Next()
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return key, st, err
		}
		done.Peers++
		seen(done.Peers)
		return r.Peer(l)
	}
	cfg := config.Default()
	deps := embedded.Deps{Rules: cfg.Presence.Rules, Path: filepath.Join(aside, storeDir)}
	if err := embedded.Restore(ctx, cfg.Embedded, deps, r.Header.Time, next); err != nil && !errors.Is(err, io.EOF) {
		return done, err
	}
	return done, moveIn(dir, aside)
}

// moveIn moves what was restored to its place, the state last: with it the directory is whole.
func moveIn(dir, aside string) error {
	for _, name := range append(KeptFiles(), storeDir) {
		if err := os.Rename(filepath.Join(aside, name), filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return disk.OS{}.SyncDir(dir)
}

// vacant refuses a data directory that holds anything but what an interrupted restore left.
func vacant(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	again := slices.ContainsFunc(list, func(e fs.DirEntry) bool { return e.Name() == restoringDir })
	for _, e := range list {
		if e.Name() != restoringDir && (!again || !slices.Contains(KeptFiles(), e.Name())) {
			return config.NewHinted(fmt.Errorf("%s is not empty: it holds %s", dir, e.Name()), "restore into a new directory, and start the server with --data on that")
		}
	}
	return nil
}
