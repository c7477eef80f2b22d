package ask_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each door that shows an answer shows its age, but for two that have no place for it.
func TestOnlyTheseDoorsDropTheAge(t *testing.T) {
	drops := regexp.MustCompile(`, _ :?= \w+(\.\w+)*\.Read\(\)`)
	var found []string
	for _, root := range []string{"../edge", "../server", "../watch"} {
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
				return err
			}
			b, err := os.ReadFile(p)
			if drops.Match(b) {
				found = append(found, filepath.ToSlash(p))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(found)
	if want := []string{"../edge/gateway/rtm/wire.go", "../edge/gateway/session.go"}; !slices.Equal(found, want) {
		t.Errorf("the age of an answer is dropped in %v, want %v", found, want)
	}
}
