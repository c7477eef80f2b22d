package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"rollcall/server"
)

// operator says how a command reaches the operator listener of a running server.
type operator struct {
	Admin string `placeholder:"ADDR" help:"Operator listener of the server; default: where the server of the data directory says it listens (ROLLCALL_ADMIN)."`
	Data  string `placeholder:"DIR" help:"Data directory of the server; default ./rollcall-data (ROLLCALL_DATA)."`
	JSON  bool   `help:"Print JSON."`
}

// address returns where the server listens for operators.
func (o *operator) address(environ []string) string {
	if o.Admin != "" {
		return o.Admin
	}
	if o.Data == "" {
		if a := variable(environ, "ROLLCALL_ADMIN"); a != "" {
			return a
		}
	}
	dir := o.Data
	if dir == "" {
		dir = variable(environ, "ROLLCALL_DATA")
	}
	defaults := server.DefaultConfig()
	if dir == "" {
		dir = defaults.Data
	}
	b, err := os.ReadFile(filepath.Join(dir, server.RunningFile))
	var running server.Running
	if err == nil && json.Unmarshal(b, &running) == nil && running.Admin != "" {
		return running.Admin
	}
	return defaults.Admin
}

// get asks the server for path and returns its JSON, also decoded into v.
func (o *operator) get(e *env, path string, query url.Values, v any) ([]byte, error) {
	base := baseURL(o.address(e.environ))
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(e.ctx, http.MethodGet, base+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address", o.address(e.environ))
	}
	resp, err := client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, &server.Hinted{
			Err:  fmt.Errorf("no server answers at %s: %w", base, err),
			Hint: "is it running? Name its operator listener with --admin, or its data directory with --data",
		}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", base, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refused(base, resp.StatusCode, b)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return nil, &server.Hinted{Err: fmt.Errorf("%s does not answer as a rollcall server does", base), Hint: "name the operator listener, not the one for apps"}
	}
	return b, nil
}

// refused tells what the server said instead of an answer.
func refused(base string, status int, body []byte) error {
	var said struct{ Error string }
	if status != http.StatusNotFound && json.Unmarshal(body, &said) == nil && said.Error != "" {
		return fmt.Errorf("%s: %s", base, said.Error)
	}
	return &server.Hinted{Err: fmt.Errorf("%s answered %d", base, status), Hint: "name the operator listener, not the one for apps; a server that still starts answers a moment later"}
}
