package main

import (
	"errors"
	"fmt"

	"rollcall/internal/configload"
	"rollcall/server"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Name every mistake in a configuration with its place; start nothing."`
}

type configCheckCmd struct {
	settings
	File string `arg:"" optional:"" help:"The file to check; as --config."`
	JSON bool   `help:"Print JSON."`
}

// A verdict on a configuration, for machines.
type configVerdict struct {
	OK       bool                `json:"ok"`
	Mistakes configload.Problems `json:"mistakes"`
	Warnings configload.Problems `json:"warnings"`
}

// Run checks the configuration that serve would start with, given the same file, flags and
// environment.
func (c *configCheckCmd) Run(e *env) error {
	if c.File != "" {
		if c.Config != "" && c.Config != c.File {
			fmt.Fprintln(e.stderr, "rollcall: two files are named; check one at a time")
			return errMisused
		}
		c.Config = c.File
	}
	src := c.sources(e.environ)
	_, warnings, err := server.Load(e.ctx, src)
	var mistakes configload.Problems
	if err != nil && !errors.As(err, &mistakes) {
		return err
	}
	if c.JSON {
		v := configVerdict{OK: err == nil, Mistakes: append(configload.Problems{}, mistakes...), Warnings: append(configload.Problems{}, warnings...)}
		if perr := printJSON(e.stdout, v); perr != nil {
			return perr
		}
		if err != nil {
			return errMisused
		}
		return nil
	}
	for _, w := range warnings {
		fmt.Fprintf(e.stderr, "rollcall: warning: %s\n", w)
	}
	if err != nil {
		return err
	}
	what := "the settings of the environment and the defaults"
	if src.File != "" {
		what = src.File
	}
	_, err = fmt.Fprintf(e.stdout, "%s: no mistakes\n", what)
	return err
}
