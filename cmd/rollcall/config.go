package main

import (
	"errors"
	"fmt"
	"io"

	operatordoor "rollcall/edge/operator"
	"rollcall/internal/configload"
	"rollcall/server/config"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Name every mistake in a configuration with its place; start nothing."`
	Show  configShowCmd  `cmd:"" help:"Print every setting and where its value comes from; secrets as fingerprints."`
}

type configShowCmd struct {
	settings
	Running bool `help:"Ask the running server for what is in force there."`
	JSON    bool `help:"Print JSON."`
}

// Help is shown below the flags.
func (configShowCmd) Help() string {
	return `What is printed is YAML that can be a configuration file again, but for secrets: of each there is the beginning of its SHA-256, by which two can be compared. With --running, --admin or --data say which server is asked.`
}

// Run prints the settings that serve would start with, given the same file, flags and environment,
// or those of a running server.
func (c *configShowCmd) Run(e *env) error {
	var shown operatordoor.Settings
	if c.Running {
		op := operator{}
		if c.Admin != nil {
			op.Admin = *c.Admin
		}
		if c.Data != nil {
			op.Data = *c.Data
		}
		if _, _, err := op.get(e, "/config", nil, &shown); err != nil {
			return err
		}
	} else {
		loaded, err := config.LoadSettings(e.ctx, c.sources(e.environ))
		if err != nil {
			return err
		}
		for _, w := range loaded.Warnings {
			fmt.Fprintf(e.stderr, "rollcall: warning: %s\n", w)
		}
		shown.Settings = loaded.Settings
	}
	if c.JSON {
		return printJSON(e.stdout, shown)
	}
	_, err := io.WriteString(e.stdout, configload.YAML(shown.Settings))
	return err
}

type configCheckCmd struct {
	settings
	File string `arg:"" optional:"" help:"The file to check; as --config."`
	JSON bool   `help:"Print JSON."`
}

// A verdict on a configuration, for machines.
type configVerdict struct {
	OK       bool                `json:"ok"`
	Ask      string              `json:"ask"`     // gate.ask
	Present  string              `json:"present"` // gate.present
	Mistakes configload.Problems `json:"mistakes"`
	Warnings configload.Problems `json:"warnings"`
	// Sources are there when there is no mistake.
	Sources []config.AskedSource `json:"sources,omitempty"`
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
	cfg, warnings, err := config.Load(e.ctx, src)
	var mistakes configload.Problems
	if err != nil && !errors.As(err, &mistakes) {
		return err
	}
	if c.JSON {
		v := configVerdict{OK: err == nil, Ask: cfg.Gate.Ask, Present: cfg.Present(), Mistakes: append(configload.Problems{}, mistakes...), Warnings: append(configload.Problems{}, warnings...)}
		if err == nil {
			v.Sources = cfg.Asked()
		}
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
	_, err = fmt.Fprintf(e.stdout, "%s: no mistakes\n%s\n", what, cfg.Access())
	for _, s := range cfg.Asked() {
		if err == nil {
			_, err = fmt.Fprintln(e.stdout, s)
		}
	}
	return err
}
