package main

import (
	"encoding/json"
	"fmt"
	"io"

	"rollcall/server"
)

type versionCmd struct {
	JSON bool `help:"Print JSON."`
}

// Run prints the version.
func (c *versionCmd) Run(e *env) error {
	v := server.BuildVersion()
	if c.JSON {
		return printJSON(e.stdout, v)
	}
	_, err := fmt.Fprintln(e.stdout, v)
	return err
}

func printJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
