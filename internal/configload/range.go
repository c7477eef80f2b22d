package configload

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A span is one part of a range: the values from low to high, both among them. An end that is not
// valid is open.
type span struct{ low, high reflect.Value }

// spans reads the range of k, such as "0s,1s..1h". One that cannot be read is a defect of the
// program.
func (k Key) spans() []span {
	var list []span
	for part := range strings.SplitSeq(k.Range, ",") {
		low, high, wide := strings.Cut(part, "..")
		if !wide {
			high = low
		}
		list = append(list, span{k.bound(low), k.bound(high)})
	}
	return list
}

func (k Key) bound(text string) reflect.Value {
	if text == "" {
		return reflect.Value{}
	}
	v := reflect.New(k.Type).Elem()
	if err := parse(text, v, k.bytes); err != nil {
		panic(fmt.Sprintf("%s.%s: range %q: %v", k.Owner, k.Field, k.Range, err))
	}
	return v
}

func (s span) holds(v reflect.Value) bool {
	return (!s.low.IsValid() || compare(s.low, v) <= 0) && (!s.high.IsValid() || compare(v, s.high) <= 0)
}

func compare(a, b reflect.Value) int {
	switch {
	case a.CanInt():
		return cmp.Compare(a.Int(), b.Int())
	case a.CanUint():
		return cmp.Compare(a.Uint(), b.Uint())
	case a.CanFloat():
		return cmp.Compare(a.Float(), b.Float())
	}
	panic(fmt.Sprintf("a %s has no range", a.Type()))
}

// outside says what is wrong with the value of k; nil when it is in range.
func (k Key) outside() error {
	if k.Range == "" {
		return nil
	}
	if k.value.Kind() == reflect.String {
		words := strings.Split(k.Range, ",")
		if slices.Contains(words, k.value.String()) {
			return nil
		}
		return fmt.Errorf("%s is %s, not one of %s", k.Path, shown(k.value.String()), strings.Join(words, ", "))
	}
	var names []string
	for _, s := range k.spans() {
		switch {
		case s.holds(k.value):
			return nil
		case !s.high.IsValid():
			names = append(names, "at least "+format(s.low, k.bytes))
		case !s.low.IsValid():
			names = append(names, "at most "+format(s.high, k.bytes))
		case compare(s.low, s.high) == 0:
			names = append(names, format(s.low, k.bytes))
		default:
			names = append(names, "between "+format(s.low, k.bytes)+" and "+format(s.high, k.bytes))
		}
	}
	return fmt.Errorf("%s is %s, not %s", k.Path, format(k.value, k.bytes), strings.Join(names, " or "))
}

// Ranges returns an error for every setting of the struct that v points to that is out of its
// range, joined; each begins with its key.
func Ranges(v any) error {
	var f Faults
	for _, k := range Keys(v) {
		f.Add(k.outside())
	}
	return f.Err()
}

// Validate returns what is wrong with c: settings out of their ranges, and what c itself finds
// between them.
func Validate(c interface{ Validate() error }) error {
	return errors.Join(Ranges(c), c.Validate())
}

// Faults are mistakes that a Validate finds; each begins with the key of a setting.
type Faults []error

// When adds a mistake if bad.
func (f *Faults) When(bad bool, text string, args ...any) {
	if bad {
		*f = append(*f, fmt.Errorf(text, args...))
	}
}

// Add adds err; nil is no mistake.
func (f *Faults) Add(err error) {
	if err != nil {
		*f = append(*f, err)
	}
}

// Err returns all of f, joined; nil when there is none.
func (f Faults) Err() error { return errors.Join(f...) }
