package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"rollcall/server/config"
	"rollcall/store/embedded"
)

// RepairData looks for damage in the state of the data directory of cfg. With mend it also moves
// the old files aside and writes what could be read anew; without, nothing is changed. It returns
// the directory of the state beside the report, and refuses while a server has it open.
func RepairData(cfg config.Config, mend bool) (state string, r *embedded.Report, err error) {
	s := Server{cfg: cfg}
	deps := s.embedded()
	if deps.Path == "" {
		return "", nil, config.NewHinted(errors.New("no data directory is named"), "name it with --data DIR")
	}
	if _, err := os.Stat(deps.Path); errors.Is(err, fs.ErrNotExist) {
		return "", nil, config.NewHinted(fmt.Errorf("%s holds no state", cfg.Data), "name the data directory of the server with --data DIR")
	}
	run := embedded.Inspect
	if mend {
		run = embedded.Repair
	}
	if r, err = run(cfg.Embedded, deps); err != nil {
		return "", nil, storeError(deps.Path, err)
	}
	return deps.Path, r, nil
}
