package rollcall_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"iter"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// outOfMessages are words that log messages and error texts do not use: people for machines, and
// words of ours where the field has another.
var outOfMessages = regexp.MustCompile(`(?i)\b(told|tells?|telling|hears?|heard|whoever|whom|who|nobody|somebody|said|says?|saying|` +
	`(?:try|tries|tried|trying) again|beats?|strangers?|stray|believed?s?|away|shoreline|soil(?:ed|s)?|prod|poke|rouse|buried|bury)\b`)

// outOfComments are words that no comment uses.
var outOfComments = regexp.MustCompile(`(?i)\b(told|tells?|telling|hears?|heard|whoever|whom|nobody|somebody)\b`)

// sources parses every Go file of the tree that is written by hand, by its path.
func sources(t *testing.T) (map[string]*ast.File, *token.FileSet) {
	t.Helper()
	fset, found := token.NewFileSet(), map[string]*ast.File{}
	for name, text := range files(t, ".go") {
		f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if !ast.IsGenerated(f) {
			found[name] = f
		}
	}
	return found, fset
}

// refuseWords reports every word of text that is out.
func refuseWords(t *testing.T, out *regexp.Regexp, at token.Position, text string) {
	t.Helper()
	for _, w := range out.FindAllString(text, -1) {
		t.Errorf("%v: %q is out; use the word of the field: %s", at, w, text)
	}
}

// TestMessagesUseWordsOfTheField: engineers search logs and documents for the words of their field.
func TestMessagesUseWordsOfTheField(t *testing.T) {
	files, fset := sources(t)
	seen := 0
	for name, f := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			text, pos := message(c)
			if text == "" {
				return true
			}
			seen++
			refuseWords(t, outOfMessages, fset.Position(pos), text)
			return true
		})
	}
	if seen < 100 {
		t.Fatalf("found %d messages; the search is wrong", seen)
	}
}

// message returns the text that c logs or makes an error of; "" when it does neither.
func message(c *ast.CallExpr) (text string, pos token.Pos) {
	sel, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", 0
	}
	switch name := sel.Sel.Name; {
	case name == "When": // of every Validate
		return literal(c.Args, 1)
	case isLogger(sel.X) && slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, name):
		return literal(c.Args, 0)
	case isLogger(sel.X) && slices.Contains([]string{"DebugContext", "InfoContext", "WarnContext", "ErrorContext"}, name):
		return literal(c.Args, 1)
	case isLogger(sel.X) && (name == "Log" || name == "LogAttrs"):
		return literal(c.Args, 2)
	case exprText(sel.X) == "errors" && name == "New", exprText(sel.X) == "fmt" && name == "Errorf":
		return literal(c.Args, 0)
	}
	return "", 0
}

func literal(args []ast.Expr, i int) (text string, pos token.Pos) {
	if len(args) <= i {
		return "", 0
	}
	lit, ok := args[i].(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", 0
	}
	text, _ = strconv.Unquote(lit.Value)
	return text, lit.Pos()
}

// TestCommentsUseWordsOfTheField holds the comments to a shorter list.
func TestCommentsUseWordsOfTheField(t *testing.T) {
	files, fset := sources(t)
	for _, f := range files {
		for c := range comments(f) {
			refuseWords(t, outOfComments, fset.Position(c.Pos()), c.Text)
		}
	}
}

// comments yields every comment of f.
func comments(f *ast.File) iter.Seq[*ast.Comment] {
	return func(yield func(*ast.Comment) bool) {
		for _, group := range f.Comments {
			for _, c := range group.List {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// TestNamesUseWordsOfTheField holds what is declared, tests too, to the list of the comments.
func TestNamesUseWordsOfTheField(t *testing.T) {
	files, fset := sources(t)
	border, seen := regexp.MustCompile(`([\p{Ll}0-9])(\p{Lu})`), 0
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				seen++
				refuseWords(t, outOfComments, fset.Position(id.Pos()), border.ReplaceAllString(id.Name, "$1 $2"))
			}
			return true
		})
	}
	if seen < 1000 {
		t.Fatalf("found %d names; the search is wrong", seen)
	}
}

// maxColumns is how wide a line with a comment may be; a tab counts as four columns.
const maxColumns = 100

// TestCommentsAreNarrow holds every line of a comment, also of one behind code, to maxColumns.
func TestCommentsAreNarrow(t *testing.T) {
	files, fset := sources(t)
	seen := 0
	for name, f := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.ReplaceAll(string(b), "\t", "    "), "\n")
		for c := range comments(f) {
			for n := fset.Position(c.Pos()).Line; n <= fset.Position(c.End()).Line; n++ {
				seen++
				if w := utf8.RuneCountInString(lines[n-1]); w > maxColumns {
					t.Errorf("%s:%d has a comment and %d columns, more than %d", name, n, w, maxColumns)
				}
			}
		}
	}
	if seen < 1000 {
		t.Fatalf("found %d lines of comments; the search is wrong", seen)
	}
}

// TestDocCommentsBeginWithTheirName: one that begins with another name was left behind by a rename.
// Comments of exported names begin with them; those of other names may begin as they like, but not
// with another identifier.
func TestDocCommentsBeginWithTheirName(t *testing.T) {
	files, fset := sources(t)
	seen := 0
	for file, f := range files {
		for _, d := range f.Decls {
			for id, doc := range documented(d) {
				seen++
				exported := id.IsExported() && !strings.HasSuffix(file, "_test.go")
				first, article := firstWord(doc.Text())
				if first != id.Name && (exported || isAnotherName(first, article, id.Name)) {
					t.Errorf("%v: the comment of %s begins with %q", fset.Position(doc.Pos()), id.Name, first)
				}
			}
		}
	}
	if seen < 1000 {
		t.Fatalf("found %d comments; the search is wrong", seen)
	}
}

// documented returns the names that d declares with a comment each.
func documented(d ast.Decl) map[*ast.Ident]*ast.CommentGroup {
	found := map[*ast.Ident]*ast.CommentGroup{}
	switch d := d.(type) {
	case *ast.FuncDecl:
		found[d.Name] = d.Doc
	case *ast.GenDecl:
		for _, s := range d.Specs {
			var doc *ast.CommentGroup
			if d.Lparen == 0 {
				doc = d.Doc
			}
			switch s := s.(type) {
			case *ast.TypeSpec:
				found[s.Name] = s.Doc
				if s.Doc == nil {
					found[s.Name] = doc
				}
			case *ast.ValueSpec:
				if len(s.Names) == 1 {
					found[s.Names[0]] = s.Doc
					if s.Doc == nil {
						found[s.Names[0]] = doc
					}
				}
			}
		}
	}
	maps.DeleteFunc(found, func(_ *ast.Ident, doc *ast.CommentGroup) bool {
		return doc == nil || strings.TrimSpace(doc.Text()) == ""
	})
	return found
}

// firstWord returns the first word of a doc comment that is not an article, without the punctuation
// that ends it.
func firstWord(text string) (word string, article bool) {
	words := strings.Fields(text)
	if article = len(words) > 1 && slices.Contains([]string{"A", "An", "The"}, words[0]); article {
		words = words[1:]
	}
	return strings.TrimRight(words[0], ",.:;"), article
}

// innerCapital is an identifier of two words or more.
var innerCapital = regexp.MustCompile(`^\p{L}*[\p{Ll}0-9]\p{Lu}[\p{L}0-9]*$`)

// isAnotherName reports whether first, which is not name, looks like an identifier.
func isAnotherName(first string, article bool, name string) bool {
	lower := unicode.IsLower(rune(first[0]))
	return innerCapital.MatchString(first) && (lower || strings.EqualFold(first, name) || strings.HasPrefix(first, "Test")) ||
		!article && lower && strings.HasPrefix(name, first)
}

// errorRooms are the rooms whose callers decide by the class of an error.
var errorRooms = []string{"ask", "intake", "watch", "presence", "store/outage"}

// standardMethods have one meaning in every package.
var standardMethods = []string{"Unwrap", "MarshalText", "UnmarshalText"}

// TestDocCommentsNameErrors: what an exported function, or a method of an exported type, may fail
// with stands in its doc comment, or refers to where it stands.
func TestDocCommentsNameErrors(t *testing.T) {
	files, fset := sources(t)
	names, seen := regexp.MustCompile(`(?i)error|\bErr[A-Z]|\bimplements\b`), 0
	for file, f := range files {
		if !slices.Contains(errorRooms, path.Dir(file)) || strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !fn.Name.IsExported() || !ofExported(fn) || !fails(fn.Type) || slices.Contains(standardMethods, fn.Name.Name) {
				continue
			}
			if seen++; !names.MatchString(fn.Doc.Text()) {
				t.Errorf("%v: the comment of %s does not say which errors it returns", fset.Position(fn.Pos()), fn.Name.Name)
			}
		}
	}
	if seen < 30 {
		t.Fatalf("found %d functions that fail; the search is wrong", seen)
	}
}

// ofExported reports whether fn is a function, or a method of an exported type.
func ofExported(fn *ast.FuncDecl) bool {
	if fn.Recv == nil {
		return true
	}
	return ast.IsExported(receiver(fn))
}

// receiver returns the name of the type that fn is a method of.
func receiver(fn *ast.FuncDecl) string {
	of := fn.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	switch generic := of.(type) {
	case *ast.IndexExpr:
		of = generic.X
	case *ast.IndexListExpr:
		of = generic.X
	}
	return exprText(of)
}

// fails reports whether the last result of a function is an error.
func fails(fn *ast.FuncType) bool {
	if fn.Results == nil {
		return false
	}
	return exprText(fn.Results.List[len(fn.Results.List)-1].Type) == "error"
}
