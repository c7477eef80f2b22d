package conformance_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write client/js/rollcall.js anew")

// parts are the modules of client/js/src, each behind those that it imports.
var parts = []string{"error", "retry", "token", "http", "known", "stream", "socket", "shared", "present", "replica", "rollcall"}

const bundleHead = `// A client of rollcall for browsers and Node 20 and newer, in one file that a page can load as it is. It depends on nothing.
//
// Code generated from src/ by "go test ./client/conformance -run TestOneFile -update". DO NOT EDIT.
`

// A page loads one file, and needs no tool to make it. The file is made of the modules in src:
// their names are all different, so their imports fall away.
func TestOneFileForPagesIsFresh(t *testing.T) {
	imports := regexp.MustCompile(`(?m)^import .*\n`)
	exports := regexp.MustCompile(`(?m)^export (async |function|class)`)
	names := regexp.MustCompile(`(?m)^(?:export )?(?:const|let|class|function|async function\*?|function\*) \*?(\w+)`)
	text, seen := bundleHead, map[string]string{}
	files, err := filepath.Glob("../js/src/*.js")
	if err != nil || len(files) != len(parts) {
		t.Fatalf("src has %d modules, not %d (%v)", len(files), len(parts), err)
	}
	for _, part := range parts {
		b, err := os.ReadFile("../js/src/" + part + ".js")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range names.FindAllStringSubmatch(string(b), -1) {
			if seen[m[1]] != "" {
				t.Errorf("both %s.js and %s.js have a %s", seen[m[1]], part, m[1])
			}
			seen[m[1]] = part
		}
		body := strings.ReplaceAll(imports.ReplaceAllString(string(b), ""), "export { RollcallError };\n", "")
		body = exports.ReplaceAllString(body, "$1")
		body = regexp.MustCompile(`(?m)^class (Rollcall|RollcallError) `).ReplaceAllString(body, "export class $1 ")
		text += "\n" + strings.TrimSpace(regexp.MustCompile(`\n{3,}`).ReplaceAllString(body, "\n\n")) + "\n"
	}
	if *update {
		if err := os.WriteFile("../js/rollcall.js", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile("../js/rollcall.js"); err != nil || string(b) != text {
		t.Errorf("client/js/rollcall.js is not made of src (%v); run this test with -update", err)
	}
}
