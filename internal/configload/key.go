package configload

import (
	"encoding"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// A Key is one setting of a struct.
type Key struct {
	Path    string // presence.offline_memory
	Secret  bool
	Default string // as it would be written
	Range   string // what is allowed, as in its tag; empty: anything
	Live    bool   // a reload takes it up

	Owner reflect.Type // the struct that holds the field
	Field string       // its Go name
	Type  reflect.Type

	value reflect.Value
	was   []string // keys of the releases before
	bytes bool
	list  bool // a list of structs: its keys are those of Elem
}

// options are what the tag of a field says.
type options struct {
	name                                 string
	skip, inline, secret, sizeLike, live bool
}

func optionsOf(f reflect.StructField) options {
	name, rest, _ := strings.Cut(f.Tag.Get("config"), ",")
	o := options{name: name, skip: name == "-" || !f.IsExported()}
	for _, word := range strings.Split(rest, ",") {
		switch word {
		case "inline":
			o.inline = true
		case "secret":
			o.secret = true
		case "bytes":
			o.sizeLike = true
		case "live":
			o.live = true
		}
	}
	if o.name == "" {
		o.name = snake(f.Name)
	}
	switch f.Type.Kind() {
	case reflect.Func, reflect.Interface, reflect.Chan, reflect.Pointer, reflect.Map:
		o.skip = true
	}
	return o
}

// snake turns OfflineMemory into offline_memory and MaxIDs into max_ids.
func snake(name string) string {
	var b strings.Builder
	rs := []rune(name)
	for i, r := range rs {
		if unicode.IsUpper(r) && i > 0 {
			afterLower := !unicode.IsUpper(rs[i-1])
			startsWord := i+1 < len(rs) && unicode.IsLower(rs[i+1])
			if afterLower || (startsWord && !pluralTail(rs[i:])) {
				b.WriteByte('_')
			}
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// pluralTail reports whether rest is the last letter of an abbreviation and its plural s: the Ds of
// IDs.
func pluralTail(rest []rune) bool {
	return len(rest) >= 2 && rest[1] == 's' && (len(rest) == 2 || unicode.IsUpper(rest[2]))
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isLeaf reports whether a value of type t is written as one scalar, or a list of scalars.
func isLeaf(t reflect.Type) bool {
	return t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(textType)
}

// walk calls fn for every setting below v.
func walk(v reflect.Value, prefix string, fn func(Key)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		o := optionsOf(f)
		if o.skip {
			continue
		}
		path := prefix + o.name
		if !isLeaf(f.Type) {
			if o.inline {
				walk(v.Field(i), prefix, fn)
			} else {
				walk(v.Field(i), path+".", fn)
			}
			continue
		}
		k := Key{
			Path: path, Secret: o.secret, Owner: v.Type(), Field: f.Name, Type: f.Type, value: v.Field(i), bytes: o.sizeLike, Live: o.live,
			Range: f.Tag.Get("range"), list: f.Type.Kind() == reflect.Slice && !isLeaf(f.Type.Elem()),
		}
		if was := f.Tag.Get("was"); was != "" {
			k.was = strings.Split(was, ",")
		}
		if !k.list {
			k.Default = format(k.value, k.bytes)
		}
		fn(k)
	}
}

// Keys returns the settings of the struct that v points to, with its present values as defaults, in
// the order of its fields. A list of structs is one key.
func Keys(v any) []Key {
	var keys []Key
	walk(reflect.ValueOf(v).Elem(), "", func(k Key) { keys = append(keys, k) })
	return keys
}

// Elem returns the keys of one entry of a list of structs; nil for every other key.
func (k Key) Elem() []Key {
	if !k.list {
		return nil
	}
	return Keys(reflect.New(k.Type.Elem()).Interface())
}

// Variable returns the environment variable of k under prefix; "" when it has none.
func (k Key) Variable(prefix string) string {
	if k.list {
		return ""
	}
	return prefix + strings.ToUpper(strings.ReplaceAll(k.Path, ".", "_"))
}
