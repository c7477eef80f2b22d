package rollcall_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rollcall/internal/logs"
)

var update = flag.Bool("update", false, "rewrite docs/logs.md")

const (
	logsPage = "docs/logs.md"
	logsHead = `<!-- Made by go test -run ^TestEventsAreListed$ . -update from the calls in the tree. Do not edit. -->

# Events of the log

With ` + "`log.format: json`" + ` every line has an ` + "`event`" + `. Alerts and searches may rely on it: when a message is reworded its event stays (` +
		"`internal/logs/event.go`" + `
keeps the older name), and a test fails when one of this list is gone. The words of a warning or an error are a heading of [the runbook](runbook.md),
which says what to do; here is its first sentence. Lines of the levels info and debug need nothing to be done.

With ` + "`log.peers: hash`" + ` or ` + "`off`" + ` the attributes ` + "`peer`, `session`, `device` and `member`" + ` (of an index in Redis) are hashed or left out.

| event | level | message | meaning |
| --- | --- | --- | --- |
`
)

// TestEventsAreListed: the page has every event that the log may have, and no event that was ever
// on it goes away.
func TestEventsAreListed(t *testing.T) {
	var lines []string
	text := readRunbook(t)
	for message, level := range messages(t) {
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s | %s |\n", logs.EventOf(message), level, message, meaningOf(t, message, level, text)))
	}
	slices.Sort(lines)
	if len(lines) < 50 {
		t.Fatalf("found %d messages in the tree; the search is wrong", len(lines))
	}
	want := logsHead + strings.Join(lines, "")
	got, err := os.ReadFile(logsPage)
	if err != nil && !*update {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(got)) {
		if event, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |"); strings.HasPrefix(event, "`") && !strings.Contains(want, "| "+event+" |") {
			t.Errorf("the event %s is gone: when its message was reworded, name the event in internal/logs/event.go", event)
		}
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(logsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(got) != want {
		t.Errorf("%s does not list what the log may say; run go test -run ^TestEventsAreListed$ . -update", logsPage)
	}
}

// levels are the names of methods of a logger, and the levels that they write.
var levels = map[string]string{"Debug": "debug", "Info": "info", "Warn": "warn", "Error": "error"}

// messages returns every constant message of the log, and its level.
func messages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	calls(t, func(c *ast.CallExpr, _ string) {
		sel, ok := c.Fun.(*ast.SelectorExpr)
		if !ok || !isLogger(sel.X) || levels[sel.Sel.Name] == "" || len(c.Args) == 0 {
			return
		}
		if lit, ok := c.Args[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			m, _ := strconv.Unquote(lit.Value)
			found[m] = levels[sel.Sel.Name]
		}
	})
	return found
}
