package main

import (
	"embed"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown below the flags.
func (completionCmd) Help() string {
	return "bash: put the line   source <(rollcall completion bash)   into ~/.bashrc" +
		"\n\nzsh: rollcall completion zsh >\"${fpath[1]}/_rollcall\"" +
		"\n\nfish: rollcall completion fish >~/.config/fish/completions/rollcall.fish" +
		"\n\nThe Debian package brings all three."
}

//go:embed completion/*.tmpl
var completions embed.FS

// A completing is a command as a shell completes it.
type completing struct {
	Name, Help string
	Path       string // of commands, each behind a space
	Commands   []completing
	Flags      []completingFlag
	Values     []string // of its argument, when there are few
	Files      bool     // its argument is a file
}

type completingFlag struct {
	Name, Help string
	Takes      string // what stands behind it: "", "files", "directories" or "value"
	Values     []string
}

// Run prints the script of a shell, made from the same table as the help.
func (c *completionCmd) Run(e *env, k *kong.Context) error {
	quoted := func(parts ...string) string {
		return "'" + strings.ReplaceAll(strings.Join(parts, ""), "'", `'\''`) + "'"
	}
	page, err := template.New("").Funcs(template.FuncMap{
		"join":  func(words []string) string { return strings.Join(words, " ") },
		"quote": quoted,
		"fish": func(text string) string {
			return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
		},
	}).ParseFS(completions, "completion/*.tmpl")
	if err != nil {
		return err
	}
	var all struct{ Commands []completing } // the program itself first
	var walk func(n *kong.Node, path string) completing
	walk = func(n *kong.Node, path string) completing {
		at := len(all.Commands)
		all.Commands = append(all.Commands, completing{})
		c := completingOf(n, path)
		for _, child := range n.Children {
			if !child.Hidden {
				c.Commands = append(c.Commands, walk(child, path+" "+child.Name))
			}
		}
		all.Commands[at] = c
		return c
	}
	walk(k.Model.Node, "")
	return page.ExecuteTemplate(e.stdout, c.Shell+".tmpl", all)
}

// completingOf returns what stands behind the command n, but for further commands.
func completingOf(n *kong.Node, path string) completing {
	c := completing{Name: n.Name, Help: n.Help, Path: path}
	for _, p := range n.Positional {
		c.Files = c.Files || p.Name == "file"
		if p.Enum != "" {
			c.Values = p.EnumSlice()
		}
	}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			c.Flags = append(c.Flags, completingFlagOf(f))
		}
	}
	return c
}

func completingFlagOf(f *kong.Flag) completingFlag {
	c := completingFlag{Name: f.Name, Help: f.Help}
	switch {
	case f.IsBool():
	case f.PlaceHolder == "FILE":
		c.Takes = "files"
	case f.PlaceHolder == "DIR":
		c.Takes = "directories"
	default:
		c.Takes = "value"
		if strings.Contains(f.PlaceHolder, "|") {
			c.Values = strings.Split(f.PlaceHolder, "|")
		}
	}
	return c
}
