package rollcall_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "rollcall"

// law says which rooms a room may import, by the start of their paths. The longest entry that fits
// a package counts. Imports run one way, so that a rule of presence can be read, tested and changed
// without knowing who asks.
var law = []struct {
	room string
	may  []string
	why  string
}{
	{"presence", nil, "the rules know no store, no socket and no format"},
	{"presence/truth", []string{"presence"}, "the simulation plays the rules and nothing else"},
	{"store", []string{"presence", "store", "internal"}, "a store keeps states; it judges nothing and speaks to nobody"},
	{"store/outage", []string{"presence", "internal"}, "it wraps any store, and knows none"},
	{"store/redisstore/nearcache", []string{"presence"}, "the near cache knows neither connections nor keys"},
	{"store/redisstore/conn", []string{"presence", "store/redisstore/nearcache", "internal"}, "the connections know no peers; what they notice is an event"},
	{"ask", []string{"presence", "internal"}, "an answer knows the rules, and neither who shows it nor which store it is from"},
	{"intake", []string{"presence", "internal"}, "reports come in the same way through every door, into any store"},
	{"transfer", []string{"presence", "internal"}, "what is exported knows neither the store it is from nor the one it goes to"},
	{"watch", []string{"presence", "ask", "internal"}, "the hub sends what a question is answered, and knows neither doors nor stores"},
	{"feed", []string{"presence", "internal"}, "the register of changes knows neither who reads it nor which store it is from"},
	{"edge", []string{"presence", "intake", "ask", "watch", "feed", "transfer", "internal"}, "a door knows the rules, the rooms that it calls, and no other door"},
	{"edge/webhook/sourcetest", []string{"presence", "intake", "store", "edge/webhook", "internal"}, "a kind of source is tried over a store"},
	{"edge/webhook/audittest", []string{"presence", "edge/webhook"}, "a product that is asked needs no store"},
	{"edge/webhook/trial", []string{"presence", "intake", "store", "edge/webhook", "internal"}, "a call is tried without a server, over a store in memory"},
	{"server", []string{"presence", "store", "intake", "ask", "watch", "feed", "edge", "transfer", "internal", "server"}, "the server composes every room"},
	{"server/config", []string{"presence", "store", "intake", "watch", "feed", "edge", "internal"}, "settings are those of the rooms; they compose nothing"},
	{"server/port", []string{"server/config", "internal"}, "the HTTP server of an address knows no door and no store"},
	{"cmd", []string{"server", "edge/operator", "edge/webhook", "client/go", "check", "demo", "cmd", "internal", "presence", "store", "transfer"}, "the command line starts a server or asks one, and reads a webhook as one would"},
	{"client/go", []string{"client/go"}, "whoever calls us does not carry our server"},
	{"client/js", nil, "the client of browsers is one file, and depends on nothing"},
	{"check", nil, "the check sees the server as apps do"},
	{"demo", []string{"client/go", "client/js"}, "the demo sees the server as apps do"},
	{"client/conformance", []string{"client/go", "client/conformance"}, "the cases see a client as its users do"},
	{"examples", []string{"client/go"}, "an example sees a client as its users do"},
	{"internal", []string{"internal"}, "what two rooms share knows no room"},
	{"deploy", nil, "the files for systemd are text"},
	{"internal/install", []string{"internal", "deploy"}, "what is installed is the files of deploy"},
	{"internal/api", []string{"internal", "presence"}, "what the doors of /v1 share speaks of peers and apps"},
}

// stdOnly are the rooms that import nothing but the standard library.
var stdOnly = []string{"presence", "client/go"}

func within(room, of string) bool { return room == of || strings.HasPrefix(room, of+"/") }

type pkg struct {
	dir     string
	doc     bool
	imports map[string][]string // path → files
}

// packages returns every package of the module that holds more than tests, with the imports of its
// non-test files.
func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	found := map[string]*pkg{}
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if p != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || name == "rollcall-data") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(p, "go.mod")); p != "." && err == nil {
				return filepath.SkipDir // another module
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ParseComments|parser.ImportsOnly)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(p))
		k := found[dir]
		if k == nil {
			k = &pkg{dir: dir, imports: map[string][]string{}}
			found[dir] = k
		}
		k.doc = k.doc || hasDoc(f)
		for _, im := range f.Imports {
			ip, _ := strconv.Unquote(im.Path.Value)
			k.imports[ip] = append(k.imports[ip], p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 5 {
		t.Fatalf("found %d packages; the walk is wrong", len(found))
	}
	return found
}

func hasDoc(f *ast.File) bool {
	return f.Doc != nil && len(strings.Fields(f.Doc.Text())) >= 5
}

func TestRoomsImportOneWay(t *testing.T) {
	for dir, k := range packages(t) {
		best := -1
		for i, l := range law {
			if within(dir, l.room) && (best < 0 || len(l.room) > len(law[best].room)) {
				best = i
			}
		}
		if best < 0 {
			t.Errorf("%s: no room of the house; add it to the law in rooms_test.go or move it", dir)
			continue
		}
		l := law[best]
		for ip, files := range k.imports {
			room, ours := strings.CutPrefix(ip, module+"/")
			if !ours {
				continue
			}
			allowed := room == dir || within(room, dir) || within(room, l.room)
			for _, m := range l.may {
				allowed = allowed || within(room, m)
			}
			// One edge does not import another: what two doors share lives in internal.
			if within(dir, "edge") && within(room, "edge") && door(room) != door(dir) {
				allowed = false
			}
			if !allowed {
				t.Errorf("%s imports %s, which %s may not: %s", strings.Join(files, ", "), room, l.room, l.why)
			}
		}
	}
}

// door returns the first two elements of an edge's path.
func door(room string) string {
	parts := strings.SplitN(room, "/", 3)
	return path.Join(parts[:min(2, len(parts))]...)
}

func TestRulesAndClientUseOnlyTheStandardLibrary(t *testing.T) {
	for dir, k := range packages(t) {
		for _, room := range stdOnly {
			if !within(dir, room) {
				continue
			}
			for ip, files := range k.imports {
				first, _, _ := strings.Cut(ip, "/")
				if strings.Contains(first, ".") {
					t.Errorf("%s imports %s; %s uses only the standard library", strings.Join(files, ", "), ip, room)
				}
			}
		}
	}
}

func TestEveryPackageIntroducesItself(t *testing.T) {
	for dir, k := range packages(t) {
		if !k.doc {
			t.Errorf("%s has no package comment; say in a sentence or more what the room is for", dir)
		}
	}
}

func TestReadmesNameTheRoomsThatExist(t *testing.T) {
	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if lines := strings.Count(text, "\n"); lines > 150 {
			t.Errorf("%s has %d lines, more than 150", name, lines)
		}
		for dir := range packages(t) {
			room := dir
			switch top, _, _ := strings.Cut(dir, "/"); top {
			case "presence", "internal", "cmd":
				room = top
			case "store", "edge", "client":
				room = door(dir)
			default:
				room = top
			}
			if !strings.Contains(text, "`"+room+"/") {
				t.Errorf("%s does not name the room %s/", name, room)
			}
		}
		for _, line := range strings.Split(text, "\n") {
			cells := strings.Split(line, "|")
			if len(cells) < 3 {
				continue
			}
			for _, room := range strings.Split(cells[1], "`") {
				if !strings.HasSuffix(room, "/") || strings.ContainsAny(room, " :") {
					continue
				}
				if st, err := os.Stat(filepath.FromSlash(room)); err != nil || !st.IsDir() {
					t.Errorf("%s names the room %s, which does not exist", name, room)
				}
			}
		}
	}
}
