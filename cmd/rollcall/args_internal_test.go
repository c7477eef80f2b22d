package main

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzArgs: whatever stands on the command line is a command, a page of help, or a mistake that is
// named. A line of the input is an argument.
func FuzzArgs(f *testing.F) {
	for _, line := range []string{
		"", "serve", "serve\n--listen\n:3000\n--data\nd", "peer\ntom\n--json", "watch\ntom\njerry", "help\nserve", "--version",
		"config\ncheck", "serve\n--listen", "peer", "--nonsense", "repair\n--\n--data", "status\n--server=http://h:1",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		var args []string
		if line != "" {
			args = strings.Split(line, "\n")
		}
		var stdout, stderr bytes.Buffer
		k, code := parse(args, &stdout, &stderr)
		switch {
		case k != nil && (k.Command() == "" || stderr.Len() > 0):
			t.Errorf("%q runs %q and says %q", args, k.Command(), &stderr)
		case k == nil && code == exitMisused && stdout.Len()+stderr.Len() == 0:
			t.Errorf("%q is misuse, and nothing is said", args)
		case k == nil && code != exitMisused && !strings.Contains(stdout.String(), "Usage: rollcall"):
			t.Errorf("%q ends with %d and says %q", args, code, &stdout)
		}
	})
}
