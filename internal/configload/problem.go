package configload

import (
	"fmt"
	"slices"
	"strings"
)

// A Problem is one mistake, or one thing to look at, and where it is.
type Problem struct {
	// "rollcall.yaml:3:5", "ROLLCALL_LISTEN", "--listen"; empty when nowhere in particular.
	Where string `json:"where,omitempty"`
	Key   string `json:"key,omitempty"` // "presence.lease"
	Text  string `json:"text"`          // what is wrong and what was meant

	line, column int
}

func (p Problem) String() string {
	switch {
	case p.Where == "" && p.Key == "":
		return p.Text
	case p.Key != "" && strings.HasPrefix(p.Text, p.Key+" "):
		return strings.TrimPrefix(p.Where+": "+p.Text, ": ")
	case p.Where == "":
		return p.Key + ": " + p.Text
	case p.Key == "":
		return p.Where + ": " + p.Text
	}
	return fmt.Sprintf("%s: %s: %s", p.Where, p.Key, p.Text)
}

// Problems are all mistakes of one load. As an error it has a line for each.
type Problems []Problem

func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// sorted returns ps in the order of the file, mistakes made elsewhere after it.
func (ps Problems) sorted() Problems {
	out := slices.Clone(ps)
	slices.SortStableFunc(out, func(a, b Problem) int {
		switch {
		case (a.line == 0) != (b.line == 0):
			if a.line == 0 {
				return 1
			}
			return -1
		case a.line != b.line:
			return a.line - b.line
		}
		return a.column - b.column
	})
	return out
}

// shown returns v for a message: quoted, and cut where it is long.
func shown(v string) string {
	const most = 40
	if len(v) > most {
		v = strings.ToValidUTF8(v[:most], "") + "…"
	}
	return fmt.Sprintf("%q", v)
}

// Nearest returns the word of known that name was most likely meant to be, or "".
func Nearest(name string, known []string) string {
	most := max(2, len(name)/3)
	if len(name) < 4 {
		most = len(name) / 2
	}
	best, distance := "", most+1
	for _, k := range known {
		if len(name) > 2 && strings.HasPrefix(k, strings.ToLower(name)+"_") {
			return k
		}
	}
	for _, k := range known {
		if d := edits(strings.ToLower(name), k, distance); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// edits counts the letters to add, drop, change or swap to make b of a; it gives up at most.
func edits(a, b string, most int) int {
	if len(a) > 256 || len(a)-len(b) >= most || len(b)-len(a) >= most {
		return most
	}
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
