package configload

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// A Loader fills one struct and collects what is wrong. It is used by one goroutine, from its
// creation to Err.
type Loader struct {
	keys     map[string]Key
	order    []string
	places   map[string]place
	problems Problems
	warnings Problems
}

// A place is where a value was written.
type place struct {
	where        string
	line, column int
}

// New returns a loader of the struct that into points to, which holds the defaults.
func New(into any) *Loader {
	l := &Loader{keys: map[string]Key{}, places: map[string]place{}}
	for _, k := range Keys(into) {
		l.keys[k.Path] = k
		l.order = append(l.order, k.Path)
		for _, old := range k.was {
			own := reflect.New(k.Type).Elem() // until Finish
			l.keys[old] = Key{Path: old, Type: k.Type, value: own}
		}
	}
	return l
}

// Finish adds what was written under former keys to the lists that replace them, warns of it, and
// checks the range of every setting. Call it once, after all sources.
func (l *Loader) Finish() {
	for _, path := range l.order {
		k := l.keys[path]
		for _, old := range k.was {
			if l.Given(old) {
				k.value.Set(reflect.AppendSlice(k.value, l.keys[old].value))
				l.Warn(old, old+" is deprecated; write "+path)
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(l.keys)) {
		if err := l.keys[path].outside(); err != nil {
			l.Problem(path, err.Error())
		}
	}
}

// Set gives key the value written as text at where, a flag or a variable.
func (l *Loader) Set(key, text, where string) {
	k, ok := l.keys[key]
	if !ok {
		l.add(place{where: where}, "", unknownKey(key, l.order))
		return
	}
	l.set(k, text, place{where: where})
}

// Within gives key the value written as text, which stood inside that of another setting: a mistake
// is shown where that one was written. A key that was written by itself keeps its value.
func (l *Loader) Within(other, key, text string) {
	if !l.Given(key) {
		l.set(l.keys[key], text, l.place(other))
	}
}

func (l *Loader) set(k Key, text string, at place) {
	l.places[k.Path] = at
	if err := parse(text, k.value, k.bytes); err != nil {
		if k.Secret {
			err = errors.New("the value cannot be read")
		}
		l.add(at, k.Path, err.Error())
	}
}

func unknownKey(key string, known []string) string {
	text := fmt.Sprintf("unknown key %s", shown(key))
	if near := Nearest(key, known); near != "" {
		text += fmt.Sprintf("; did you mean %q?", near)
	}
	return text
}

// Env takes the variables of environ that start with prefix. An unknown one is worth a warning
// only: the prefix may be used by others, as Kubernetes does for a service of our name.
func (l *Loader) Env(prefix string, environ []string, also ...string) {
	byName := map[string]string{}
	names := append([]string(nil), also...)
	for path, k := range l.keys {
		if v := k.Variable(prefix); v != "" {
			byName[v] = path
		}
	}
	for _, path := range l.order {
		if v := l.keys[path].Variable(prefix); v != "" {
			names = append(names, v)
		}
	}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, prefix) || value == "" {
			continue
		}
		if path, ok := byName[name]; ok {
			l.set(l.keys[path], value, place{where: name})
			continue
		}
		if contains(also, name) || ofKubernetes(strings.TrimPrefix(name, prefix)) {
			continue
		}
		text := "this variable is not a setting"
		if near := nearestVariable(name, names); near != "" {
			text += "; did you mean " + near + "?"
		}
		l.warnings = append(l.warnings, Problem{Where: name, Text: text})
	}
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}

func nearestVariable(name string, names []string) string {
	lower := make([]string, len(names))
	for i, n := range names {
		lower[i] = strings.ToLower(n)
	}
	return strings.ToUpper(Nearest(name, lower))
}

// ofKubernetes reports whether rest is one of the variables that Kubernetes sets for every service.
func ofKubernetes(rest string) bool {
	return rest == "PORT" || strings.HasPrefix(rest, "PORT_") || strings.HasPrefix(rest, "SERVICE_")
}

// Check takes the mistakes that a room's Validate found in section: err itself, or each error
// joined in it. An error whose first word is a key of the section is shown where that key was
// written.
func (l *Loader) Check(section string, err error) {
	if err == nil {
		return
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			l.Check(section, e)
		}
		return
	}
	text := err.Error()
	first, rest, _ := strings.Cut(text, " ")
	key := strings.TrimSuffix(first, ":")
	if section != "" {
		key = section + "." + key
	}
	if _, ok := l.keys[key]; !ok {
		l.Problem(section, text)
		return
	}
	l.Problem(key, key+" "+rest)
}

// Problem adds a mistake about key, which is shown where key was written.
func (l *Loader) Problem(key, text string) { l.add(l.place(key), key, text) }

// Warn adds something to look at about key.
func (l *Loader) Warn(key, text string) {
	p := l.place(key)
	l.warnings = append(l.warnings, Problem{Where: p.where, Key: key, Text: text, line: p.line, column: p.column})
}

// place finds where key, or the nearest level above it, was written.
func (l *Loader) place(key string) place {
	for {
		if p, ok := l.places[key]; ok {
			return p
		}
		i := strings.LastIndexAny(key, ".[")
		if i < 0 {
			return place{}
		}
		key = key[:i]
	}
}

// Given reports whether key was written anywhere.
func (l *Loader) Given(key string) bool {
	_, ok := l.places[key]
	return ok
}

func (l *Loader) add(at place, key, text string) {
	l.problems = append(l.problems, Problem{Where: at.where, Key: key, Text: text, line: at.line, column: at.column})
}

// Err returns all mistakes as [Problems], or nil.
func (l *Loader) Err() error {
	if len(l.problems) == 0 {
		return nil
	}
	return l.problems.sorted()
}

// Warnings returns what is no mistake but worth a look.
func (l *Loader) Warnings() Problems { return l.warnings.sorted() }

// Mark notes that key, an entry of a list that the caller added itself, was written at where.
func (l *Loader) Mark(key, where string) {
	l.places[key] = place{where: where}
	if _, ok := l.keys[key]; !ok {
		l.keys[key] = Key{Path: key}
	}
}

// Entry returns the key of an entry of list, a list of structs: apps[0]. It is the first whose
// setting id has the value, else a new one, written at where. The settings of every entry are known
// afterwards.
func (l *Loader) Entry(list, id, value, where string) string {
	entries := l.keys[list].value
	found := ""
	know := func() {
		for i := range entries.Len() {
			prefix := fmt.Sprintf("%s[%d]", list, i)
			walk(entries.Index(i), prefix+".", func(k Key) {
				l.keys[k.Path] = k
				if found == "" && k.Path == prefix+"."+id && k.value.String() == value {
					found = prefix
				}
			})
		}
	}
	if know(); found != "" {
		return found
	}
	entries.Set(reflect.Append(entries, reflect.Zero(entries.Type().Elem())))
	know() // they have moved
	found = fmt.Sprintf("%s[%d]", list, entries.Len()-1)
	l.Mark(found, where)
	l.Set(found+"."+id, value, where)
	return found
}
