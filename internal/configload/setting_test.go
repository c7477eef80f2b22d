package configload_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/internal/configload"
)

type part struct {
	Every time.Duration
	Words []string
	Key   string `config:",secret"`
}

type shown struct {
	Name  string
	Size  int `config:",bytes,live"`
	Part  part
	Deep  struct{ Deeper part }
	Lines []struct {
		ID   string
		Key  string `config:",secret"`
		More bool
	} `config:",live"`
}

const source = `name: ": # \"x\""
size: 64KiB
part: {every: 7d, words: [a, "b: c"], key: sesame}
deep: {deeper: {every: 1s}}
lines:
- {id: one, key: sesame, more: true}
- {id: two}
`

func loadShown(t *testing.T, text string) (shown, []configload.Setting) {
	t.Helper()
	var c shown
	l := configload.New(&c)
	l.YAML("c.yaml", []byte(text))
	if l.Finish(); l.Err() != nil {
		t.Fatal(l.Err())
	}
	return c, l.Settings()
}

// What is shown is a file with the same settings again, but for secrets, of which there is a
// fingerprint.
func TestSettingsAreAFileAgain(t *testing.T) {
	want, settings := loadShown(t, source)
	text := configload.YAML(settings)
	if strings.Contains(text, "sesame") || strings.Count(text, configload.Fingerprint("sesame")) != 2 {
		t.Errorf("secrets are shown:\n%s", text)
	}
	for _, line := range []string{`every: 7d`, `size: 64KiB`, "# c.yaml:2:7", "# default"} {
		if !strings.Contains(text, line) {
			t.Errorf("%s is not in\n%s", line, text)
		}
	}
	got, again := loadShown(t, text)
	want.Part.Key, want.Lines[0].Key = "", ""
	if got.Name != want.Name || got.Size != want.Size || got.Part.Every != want.Part.Every || !slices.Equal(got.Part.Words, want.Part.Words) ||
		got.Deep.Deeper.Every != time.Second || !slices.Equal(got.Lines, want.Lines) {
		t.Errorf("%+v became %+v by\n%s", want, got, text)
	}
	for i := range again {
		if again[i].Key != settings[i].Key {
			t.Errorf("setting %d is %s, want %s", i, again[i].Key, settings[i].Key)
		}
	}
}

// Entries of lists are compared by their ids, and a setting that is not live keeps the value that
// is in force.
func TestChangesOfSettings(t *testing.T) {
	_, before := loadShown(t, source)
	_, after := loadShown(t, strings.NewReplacer("- {id: two}", "- {id: three}", "id: one, key: sesame", "id: one, key: other", "64KiB", "1MiB", "7d", "1d").Replace(source))
	var got []string
	for _, c := range configload.Changes(before, after) {
		got = append(got, c.String())
		if c.Live != (c.Key != "part.every") {
			t.Errorf("%s is live: %v", c.Key, c.Live)
		}
	}
	want := []string{
		"size: 64KiB → 1MiB (c.yaml:2:7)", "part.every: 7d → 1d (c.yaml:3:15)",
		"lines[one].key: " + configload.Fingerprint("sesame") + " → " + configload.Fingerprint("other") + " (c.yaml:6:18)",
		"lines[three]: added (c.yaml:7:8)", "lines[two]: removed",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	live := configload.Live(before, after)
	if left := configload.Changes(live, after); len(left) != 1 || left[0].Key != "part.every" {
		t.Errorf("what is left is %v", left)
	}
}
