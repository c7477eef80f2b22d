package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"rollcall/store/embedded"
)

// Repair is what was found in the state of a data directory, and what was done about it.
type Repair struct {
	Data   string        `json:"data"`
	Damage []DamagePlace `json:"damage"`
	// Affected are the peers whose states stood in what is damaged: what is kept of them may be
	// older than it should be.
	Affected []string `json:"affected"`
	Kept     int64    `json:"kept"`
	Torn     int64    `json:"torn_bytes"`
	Aside    string   `json:"aside,omitempty"` // where the old files are now; empty when nothing was changed
}

// DamagePlace is one place that is not what was written.
type DamagePlace struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	What   string `json:"what"`
}

// RepairData looks for damage in the state of the data directory dir. With mend it also moves the
// old files aside and writes what could be read anew; without, nothing is changed. It refuses while
// a server has the directory open.
func RepairData(cfg Config, mend bool) (Repair, error) {
	dir := cfg.Data
	s := Server{cfg: cfg}
	e := s.embedded()
	if e.Path == "" {
		return Repair{}, hint(errors.New("no data directory is named"), "name it with --data DIR")
	}
	if _, err := os.Stat(e.Path); errors.Is(err, fs.ErrNotExist) {
		return Repair{}, hint(fmt.Errorf("%s holds no state", dir), "name the data directory of the server with --data DIR")
	}
	run := embedded.Inspect
	if mend {
		run = embedded.Repair
	}
	r, err := run(e)
	if err != nil {
		return Repair{}, storeError(e.Path, err)
	}
	out := Repair{Data: dir, Kept: r.Kept, Torn: r.Torn, Aside: r.Aside, Damage: []DamagePlace{}, Affected: []string{}}
	for _, d := range r.Damage {
		file := d.File
		if !filepath.IsAbs(file) && filepath.Dir(file) == "." {
			file = filepath.Join(e.Path, file)
		}
		out.Damage = append(out.Damage, DamagePlace{file, d.Offset, d.What})
	}
	for _, p := range r.Peers {
		out.Affected = append(out.Affected, string(p))
	}
	return out, nil
}
