package rollcall_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// files returns the text of every file of the tree, those of other modules too, whose name ends in
// one of endings; all when none is given. What npm installed and what was built is not the tree's.
func files(t *testing.T, endings ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a test of another package has removed it
		}
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case ".git", "node_modules", "rollcall-data", "bin":
				return filepath.SkipDir
			}
			return nil
		}
		ends := func(e string) bool { return strings.HasSuffix(p, e) }
		if p == "rollcall" || d.Name() == ".git" || !d.Type().IsRegular() || len(endings) > 0 && !slices.ContainsFunc(endings, ends) {
			return nil
		}
		b, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		found[filepath.ToSlash(p)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatalf("no file ends in %q; the walk is wrong", endings)
	}
	return found
}

// refuse reports every line of text that matches pattern.
func refuse(t *testing.T, name, text string, pattern *regexp.Regexp, why string) {
	t.Helper()
	for i, line := range strings.Split(text, "\n") {
		if m := pattern.FindString(line); m != "" {
			t.Errorf("%s:%d: %q: %s", name, i+1, m, why)
		}
	}
}

// A test that skips itself looks like one that passed.
func TestNoTestSkipsItself(t *testing.T) {
	skip := regexp.MustCompile(`\b(t|b|f|tb)\.Skip(f|Now)?\(|\btesting\.Short\(`)
	for name, text := range files(t, ".go") {
		refuse(t, name, text, skip, "a test says what it needs and fails without it; the Makefile's setup installs it")
	}
}

// What names a folder of one machine works on that machine only.
func TestNothingNamesAFolderOfOneMachine(t *testing.T) {
	own := regexp.MustCompile(`(^|[^A-Za-z0-9_.~/>}-])/(home|root|Users|work)/[a-z]`)
	for name, text := range files(t) {
		refuse(t, name, text, own, "a path of one machine")
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^()\s]+)\)`)
	checked := 0
	for name, text := range files(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue // elsewhere
			}
			to := name
			if target != "" {
				to = filepath.Join(filepath.Dir(name), filepath.FromSlash(target))
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, m[1])
				continue
			}
			if fragment != "" && strings.HasSuffix(to, ".md") && !hasHeading(t, to, fragment) {
				t.Errorf("%s links to %s, and there is no such heading", name, m[1])
			}
			checked++
		}
	}
	if checked < 5 {
		t.Errorf("found %d links; the search is wrong", checked)
	}
}

// hasHeading reports whether a heading of the file has the fragment for its anchor, as GitHub makes
// them.
func hasHeading(t *testing.T, file, fragment string) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dropped := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for line := range strings.Lines(string(b)) {
		heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if ok && strings.HasPrefix(line, "#") &&
			strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), ""), " ", "-") == fragment {
			return true
		}
	}
	return false
}

// A decision names its question, what else could have been done, the choice, its price, and how we
// would notice that it was wrong: each in a heading or in bold at the start of a line.
func TestDecisionsAreWhole(t *testing.T) {
	parts := map[string]*regexp.Regexp{
		"title and question":     regexp.MustCompile(`^# .+\n+(## Question|\*\*Question|[^#*\s])`),
		"options":                regexp.MustCompile(`(?m)^(## |\*\*)Options`),
		"choice":                 regexp.MustCompile(`(?m)^(## |\*\*)Choice`),
		"cost":                   regexp.MustCompile(`(?m)^(## |\*\*)(Cost|What it costs)`),
		"how we would notice it": regexp.MustCompile(`(?mi)^(## |\*\*).*we would notice`),
	}
	names, err := filepath.Glob("docs/decisions/*.md")
	if err != nil || len(names) == 0 {
		t.Fatalf("no decisions: %v", err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for part, pattern := range parts {
			if !pattern.Match(b) {
				t.Errorf("%s lacks its %s", name, part)
			}
		}
	}
}

// A document that names a test which was renamed or deleted promises what nothing holds.
func TestDocumentsNameTestsThatExist(t *testing.T) {
	declared, exists := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w*)`), map[string]bool{}
	for _, text := range files(t, "_test.go") {
		for _, m := range declared.FindAllStringSubmatch(text, -1) {
			exists[m[1]] = true
		}
	}
	named, seen := regexp.MustCompile("`((?:Test|Fuzz|Benchmark)\\p{Lu}\\w+)`"), 0
	for name, text := range files(t, ".md") {
		for _, m := range named.FindAllStringSubmatch(text, -1) {
			if seen++; !exists[m[1]] {
				t.Errorf("%s names %s, and there is no such test", name, m[1])
			}
		}
	}
	if seen < 20 {
		t.Fatalf("found %d names of tests; the search is wrong", seen)
	}
}

// A fuzz target starts from what it has found before.
func TestFuzzTargetsHaveACorpus(t *testing.T) {
	target := regexp.MustCompile(`(?m)^func (Fuzz\w+)`)
	for name, text := range files(t, "_test.go") {
		for _, m := range target.FindAllStringSubmatch(text, -1) {
			dir := filepath.Join(filepath.Dir(name), "testdata", "fuzz", m[1])
			if entries, err := os.ReadDir(dir); err != nil || len(entries) == 0 {
				t.Errorf("%s has no corpus in %s: copy some of what it finds from $(go env GOCACHE)/fuzz", m[1], dir)
			}
		}
	}
}

// npm writes the address of the registry that it is set to use into a lock file, unless an .npmrc
// beside it forbids that.
func TestLockFilesNameNoRegistry(t *testing.T) {
	young := regexp.MustCompile(`"node": *">= ?(19|[2-9][0-9])`)
	for name, text := range files(t, "package-lock.json") {
		var lock struct {
			Packages map[string]struct {
				Resolved  string          `json:"resolved"`
				Integrity string          `json:"integrity"`
				Link      bool            `json:"link"`
				Engines   json.RawMessage `json:"engines"`
			} `json:"packages"`
		}
		if err := json.Unmarshal([]byte(text), &lock); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for p, l := range lock.Packages {
			if strings.HasPrefix(p, "../") || l.Link && strings.HasPrefix(l.Resolved, "../") {
				continue // of this tree
			}
			if young.Match(l.Engines) {
				t.Errorf("%s: %s wants %s; Debian 12 brings Node 18", name, p, l.Engines)
			}
			if l.Resolved != "" || p != "" && l.Integrity == "" {
				t.Errorf("%s: %s is resolved to %q with the checksum %q; want no address, and a checksum", name, p, l.Resolved, l.Integrity)
			}
		}
		if rc, _ := os.ReadFile(filepath.Join(filepath.Dir(name), ".npmrc")); !strings.Contains(string(rc), "omit-lockfile-registry-resolved=true") {
			t.Errorf("%s has no .npmrc beside it with omit-lockfile-registry-resolved=true", name)
		}
	}
}

// The server composes the rooms and is read to see how they hang together: it stays short, and what
// users see of an answer or a metric belongs to a door.
func TestTheServerOnlyComposes(t *testing.T) {
	const most = 1900
	shapes := regexp.MustCompile("`json:\"|\"rollcall_")
	lines := 0
	for name, text := range files(t, ".go") {
		if dir, file := path.Split(name); dir != "server/" || strings.HasSuffix(file, "_test.go") {
			continue
		}
		lines += strings.Count(text, "\n")
		refuse(t, name, text, shapes, "a JSON shape or the name of a metric; both belong to a door")
	}
	if lines == 0 || lines > most {
		t.Errorf("server/ has %d lines; want 1 to %d: move what composes nothing into the room of its job", lines, most)
	}
}

// A wake-up is an internal/wake.Signal wherever that can be imported.
func TestWakeUpsAreSignals(t *testing.T) {
	byHand := regexp.MustCompile(`select \{\s+case [^\n]+<- struct\{\}\{\}:\s+default:\s+\}`)
	for name, text := range files(t, ".go") {
		if !strings.HasPrefix(name, "internal/wake/") && !strings.HasPrefix(name, "examples/") && byHand.MatchString(text) {
			t.Errorf("%s wakes a goroutine by hand; use internal/wake", name)
		}
	}
}

// A type with more methods than maxMethods is several types. The room of Redis, which once was one
// object in pages, also has no file with more than maxLines.
const maxMethods, maxLines = 70, 400

func TestTypesAndFilesStaySmall(t *testing.T) {
	files, fset := sources(t)
	methods := map[string]int{}
	for name, f := range files {
		if n := fset.Position(f.FileEnd).Line; n > maxLines && within(path.Dir(name), "store/redisstore") {
			t.Errorf("%s has %d lines, more than %d", name, n, maxLines)
		}
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
				methods[path.Dir(name)+"."+receiver(fn)]++
			}
		}
	}
	most := 0
	for of, n := range methods {
		if most = max(most, n); n > maxMethods {
			t.Errorf("%s has %d methods, more than %d", of, n, maxMethods)
		}
	}
	if most < 20 {
		t.Fatalf("the largest type has %d methods; the search is wrong", most)
	}
}

// A function that fits a screen is read at once; a longer one, or a file with many, has parts that
// deserve names.
func TestFunctionsAndFilesAreShort(t *testing.T) {
	const mostLines, mostBody = 400, 60
	for name, text := range files(t, ".go") {
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".pb.go") || strings.HasPrefix(name, "bench/") {
			continue
		}
		if n := strings.Count(text, "\n"); n > mostLines {
			t.Errorf("%s has %d lines, more than %d; split it by verb", name, n, mostLines)
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			if n := set.Position(fn.Body.Rbrace).Line - set.Position(fn.Body.Lbrace).Line - 1; n > mostBody {
				t.Errorf("%s: the body of %s has %d lines, more than %d", name, fn.Name.Name, n, mostBody)
			}
		}
	}
}
