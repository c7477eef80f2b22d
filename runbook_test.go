package rollcall_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const runbook = "docs/runbook.md"

// procedures are what the page has to say beside the lines of the log.
var procedures = []string{
	"The first hour", "Upgrade", "Roll-back", "The disk is full", "Redis is gone", "A certificate is near its end",
	"People look offline", "People look online for ever", "Move to Redis", "Restore a backup", "Replace a key",
}

// TestEveryWarningHasItsParagraph: an operator finds under the exact words of a log line what it
// means and what to do.
func TestEveryWarningHasItsParagraph(t *testing.T) {
	text, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	headings := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if h, ok := strings.CutPrefix(strings.TrimSpace(line), "## "); ok {
			headings[h] = false
		}
	}
	messages := warnings(t)
	if len(messages) < 5 {
		t.Fatalf("found %d warnings in the tree; the search is wrong", len(messages))
	}
	for m, where := range messages {
		if _, ok := headings[m]; !ok {
			t.Errorf("%s warns %q; %s has no paragraph \"## %s\"", where, m, runbook, m)
		}
		headings[m] = true
	}
	alert := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)
	rules, err := os.ReadFile("deploy/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range alert.FindAllStringSubmatch(string(rules), -1) {
		if _, ok := headings[m[1]]; !ok {
			t.Errorf("the alert %s has no paragraph in %s", m[1], runbook)
		}
		if !strings.Contains(string(rules), "runbook_url: docs/runbook.md#"+strings.ToLower(m[1])+"\n") {
			t.Errorf("the alert %s does not lead to its paragraph", m[1])
		}
		headings[m[1]] = true
	}
	for _, p := range procedures {
		if !strings.Contains(string(text), "\n### "+p+"\n") {
			t.Errorf("%s lacks %q", runbook, p)
		}
	}
	for h, used := range headings {
		if !used {
			t.Errorf("%s explains %q, which nothing says", runbook, h)
		}
	}
}

// warnings returns the message of every call of Warn or Error on a logger outside tests, and where
// it stands.
func warnings(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	calls(t, func(c *ast.CallExpr, where string) {
		if m := warning(c); m != "" {
			found[m] = where
		}
	})
	return found
}

// calls calls fn for every call of the server's code outside tests, with its place.
func calls(t *testing.T, fn func(c *ast.CallExpr, where string)) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case "testdata", "node_modules", "bench", "client", "storetest", "redistest", "sourcetest", "truth":
				return filepath.SkipDir // they write no log of the server
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, p, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok {
				fn(c, fset.Position(c.Pos()).String())
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// warning returns the message of c when it warns; "" when it does not.
func warning(c *ast.CallExpr) string {
	sel, ok := c.Fun.(*ast.SelectorExpr)
	if !ok || !isLogger(sel.X) {
		return ""
	}
	arg := 0
	switch sel.Sel.Name {
	case "Warn", "Error":
	case "WarnContext", "ErrorContext":
		arg = 1
	case "Log", "LogAttrs":
		arg = 2
		if len(c.Args) > 1 && !strings.HasSuffix(exprText(c.Args[1]), "LevelWarn") && !strings.HasSuffix(exprText(c.Args[1]), "LevelError") {
			return ""
		}
	default:
		return ""
	}
	if len(c.Args) <= arg {
		return "" // err.Error()
	}
	lit, ok := c.Args[arg].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "a message that is not constant"
	}
	m, _ := strconv.Unquote(lit.Value)
	return m
}

// isLogger reports whether x is called as loggers are here.
func isLogger(x ast.Expr) bool {
	name := strings.ToLower(exprText(x))
	return strings.HasSuffix(name, "log") || strings.HasSuffix(name, "logger") || name == "slog"
}

func exprText(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	case *ast.CallExpr:
		return exprText(x.Fun)
	}
	return ""
}
