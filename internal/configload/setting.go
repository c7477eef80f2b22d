package configload

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Setting is the value that a key has and where it was written. It holds no secret.
type Setting struct {
	Key string `json:"key"` // presence.lease, apps[0].id
	// As it is written; of a secret its fingerprint, "" when it is not set.
	Value string   `json:"value"`
	List  []string `json:"list,omitempty"` // of a list
	// Default, or where it was written: FILE:LINE:COLUMN, a variable, a flag.
	From  string `json:"from"`
	Is    string `json:"is,omitempty"`    // text, list or secret; else it is written as it is
	Live  bool   `json:"live,omitempty"`  // a reload takes it up
	Entry string `json:"entry,omitempty"` // of a list of structs: the id of the entry
}

// Fingerprint returns the first eight hexadecimal digits of the SHA-256 of a secret, by which two
// can be compared.
func Fingerprint(secret string) string {
	if secret == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(secret))
	return "sha256:" + hex.EncodeToString(sum[:4])
}

// Default is where a value comes from that was written nowhere.
const Default = "default"

// Settings returns all settings in the order of the struct, entries of lists among them, and where
// each was written.
func (l *Loader) Settings() []Setting {
	var all []Setting
	for _, path := range l.order {
		k := l.keys[path]
		if !k.list {
			all = append(all, l.setting(k))
			continue
		}
		for i := range k.value.Len() {
			first := len(all)
			walk(k.value.Index(i), fmt.Sprintf("%s[%d].", k.Path, i), func(e Key) {
				e.Live = e.Live || k.Live
				all = append(all, l.setting(e))
			})
			for j := first; j < len(all); j++ {
				all[j].Entry = all[first].Value
			}
		}
	}
	return all
}

func (l *Loader) setting(k Key) Setting {
	s := Setting{Key: k.Path, From: Default, Live: k.Live}
	if p, ok := l.places[k.Path]; ok {
		s.From = p.where
	}
	switch {
	case k.Secret:
		s.Is, s.Value = "secret", Fingerprint(k.value.String())
	case k.value.Kind() == reflect.Slice:
		s.Is = "list"
		for i := range k.value.Len() {
			s.List = append(s.List, format(k.value.Index(i), false))
		}
	case k.value.Kind() == reflect.String:
		s.Is, s.Value = "text", k.value.String()
	default:
		s.Value = format(k.value, k.bytes)
	}
	return s
}

// text returns the value of s for a line of text.
func (s *Setting) text() string {
	switch {
	case s.Is == "list":
		return "[" + strings.Join(s.List, ", ") + "]"
	case s.Value == "" && s.Is == "secret":
		return "not set"
	case s.Value == "":
		return `""`
	}
	return s.Value
}

// A Change is a setting that differs between two loads.
type Change struct {
	Key  string `json:"key"`
	Was  string `json:"was"` // "" where there was none, as Now where there is none
	Now  string `json:"now"`
	From string `json:"from,omitempty"`
	Live bool   `json:"live"` // a reload takes it up
}

// String is c as a line.
func (c Change) String() string {
	text := c.Key + ": "
	switch {
	case c.Was == "":
		text += "added"
	case c.Now == "":
		return text + "removed"
	default:
		text += c.Was + " → " + c.Now
	}
	if c.From != "" {
		text += " (" + c.From + ")"
	}
	return text
}

// Changes returns what differs between before and after. Entries of lists are matched by their ids,
// wherever they stand.
func Changes(before, after []Setting) []Change {
	was := map[string]Setting{}
	for _, s := range before {
		was[s.name()] = s
	}
	var all []Change
	there, gone := map[string]bool{}, map[string]bool{}
	for _, s := range after {
		there[s.name()] = true
		old, known := was[s.name()]
		switch {
		case known && old.text() != s.text():
			all = append(all, Change{s.name(), old.text(), s.text(), s.From, s.Live})
		case !known && s.isID():
			all = append(all, Change{Key: s.entry(), Now: s.Value, From: s.From, Live: s.Live})
		}
	}
	for _, s := range before {
		if s.isID() && !there[s.name()] && !gone[s.name()] {
			gone[s.name()] = true
			all = append(all, Change{Key: s.entry(), Was: s.Value, Live: s.Live})
		}
	}
	return all
}

// Live returns the settings in force once a reload took up after: those of before, but for what a
// reload takes up.
func Live(before, after []Setting) []Setting {
	var all []Setting
	written := map[string]Setting{}
	for _, s := range after {
		written[s.Key] = s
	}
	for _, s := range before {
		if s.Entry != "" {
			continue
		}
		if now, ok := written[s.Key]; ok && s.Live {
			s = now
		}
		all = append(all, s)
	}
	for _, s := range after {
		if s.Entry != "" {
			all = append(all, s)
		}
	}
	return all
}

// isID reports whether s is what names an entry of a list.
func (s *Setting) isID() bool { return s.Entry != "" && strings.HasSuffix(s.Key, "].id") }

// entry names the entry that s is of: apps[THE-ID].
func (s *Setting) entry() string {
	list, _, _ := strings.Cut(s.Key, "[")
	return list + "[" + s.Entry + "]"
}

// name is the key of s, with the id of an entry in the place of its number.
func (s *Setting) name() string {
	if s.Entry == "" {
		return s.Key
	}
	_, rest, _ := strings.Cut(s.Key, "]")
	return s.entry() + rest
}

// YAML writes settings as a file that [Loader.File] reads, each with where it came from. A secret
// stands in a comment, by its fingerprint.
func YAML(settings []Setting) string {
	var b strings.Builder
	var open []string // the sections that are open
	entry := ""
	for i := range settings {
		s := &settings[i]
		path := strings.Split(s.Key, ".")
		dash := ""
		if list, _, ok := strings.Cut(path[0], "["); ok {
			if entry != path[0] {
				dash, entry = "- ", path[0]
			}
			path[0] = list
		}
		sections, name := path[:len(path)-1], path[len(path)-1]
		depth := 0
		for depth < len(open) && depth < len(sections) && open[depth] == sections[depth] {
			depth++
		}
		for ; depth < len(sections); depth++ {
			fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", depth), sections[depth])
		}
		open = slices.Clone(sections)
		indent := strings.Repeat("  ", len(sections))
		if s.Entry != "" && dash == "" {
			indent += "  "
		}
		line := name + ": " + s.yaml()
		if s.Is == "secret" {
			line = "# " + name + ": " + s.text()
		}
		fmt.Fprintf(&b, "%-60s # %s\n", indent+dash+line, s.From)
	}
	return b.String()
}

// yaml returns the value of s as YAML writes it.
func (s *Setting) yaml() string {
	switch s.Is {
	case "list":
		parts := make([]string, len(s.List))
		for i, p := range s.List {
			parts[i] = quoted(p)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case "text":
		return quoted(s.Value)
	}
	return s.Value
}

// quoted returns text in double quotes where YAML would read something else.
func quoted(text string) string {
	b, err := yaml.Marshal(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Style: yaml.DoubleQuotedStyle})
	if err != nil {
		return fmt.Sprintf("%q", text)
	}
	return strings.TrimSuffix(string(b), "\n")
}
