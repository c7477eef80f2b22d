package configload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxFile is the largest file that is read, in bytes.
const MaxFile = 1 << 20

// File takes the settings of the YAML file called name. It may be a pipe, such as a shell makes of
// <(…); ctx ends the wait for its writer.
func (l *Loader) File(ctx context.Context, name string) {
	b, err := read(ctx, name)
	if err != nil {
		l.add(place{where: name}, "", reason(err))
		return
	}
	l.YAML(name, b)
}

var (
	errTooLarge = fmt.Errorf("the file is larger than %d MiB; is it the right one?", MaxFile>>20)
	errNoWriter = errors.New("this is a pipe without a writer; pass a file, or settings on the pipe")
)

func read(ctx context.Context, name string) ([]byte, error) {
	// O_NONBLOCK: the opening of a pipe would wait for a writer, and no signal would end it.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return nil, errors.New("this is a directory, not a file")
	}
	// A regular file never waits and takes none.
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	case len(b) > MaxFile:
		return nil, errTooLarge
	case len(b) == 0 && st.Mode()&fs.ModeNamedPipe != 0:
		return nil, errNoWriter
	}
	return b, nil
}

// reason says why a file cannot be read, without repeating its name.
func reason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file"
	case errors.Is(err, fs.ErrPermission):
		return "this user may not read the file"
	case errors.Is(err, syscall.ELOOP):
		return "the file is a symbolic link that leads back to itself"
	case errors.Is(err, context.Canceled):
		return "stopped while the settings were read"
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// YAML takes the settings written in b, which came from the file called name.
func (l *Loader) YAML(name string, b []byte) {
	d := yaml.NewDecoder(bytes.NewReader(b))
	var doc yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return // an empty file leaves every default
	case err != nil:
		at := place{where: name}
		text := err.Error()
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			text = m[2]
			if m[1] != "" {
				at.line, _ = strconv.Atoi(m[1])
				at.where = name + ":" + m[1]
			}
		}
		if at.line == 0 {
			if line, column, what := stray(b); what != "" {
				at = place{fmt.Sprintf("%s:%d:%d", name, line, column), line, column}
				text = what
			}
		}
		l.add(at, "", "not YAML: "+text)
		return
	}
	f := &file{l: l, name: name}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return
	}
	var next yaml.Node
	if err := d.Decode(&next); !errors.Is(err, io.EOF) {
		l.add(place{where: name}, "", `the file holds a second document (a line "---"); only one is read`)
	}
	known := map[string]Key{}
	for path, k := range l.keys {
		known[path] = k
	}
	f.mapping(root, "", known)
}

// stray finds the first byte that no YAML may hold, which the parser refuses without saying where.
// A text that is not in UTF-8 on purpose (it begins with the mark of UTF-16) is none of its
// business.
func stray(b []byte) (line, column int, what string) {
	if bytes.HasPrefix(b, []byte{0xff, 0xfe}) || bytes.HasPrefix(b, []byte{0xfe, 0xff}) {
		return 0, 0, ""
	}
	line, column = 1, 1
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			return line, column, fmt.Sprintf("the byte %#02x is not UTF-8", b[0])
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r >= 0x7f && r < 0xa0 && r != 0x85:
			return line, column, fmt.Sprintf("the control character %U; is this a text file?", r)
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		b = b[n:]
	}
	return 0, 0, ""
}

// A file is one YAML file while it is read.
type file struct {
	l    *Loader
	name string
}

func (f *file) at(n *yaml.Node) place {
	return place{where: fmt.Sprintf("%s:%d:%d", f.name, n.Line, n.Column), line: n.Line, column: n.Column}
}

// mapping takes the keys of n, which stands at prefix ("" or "presence."), from known, whose paths
// are whole.
func (f *file) mapping(n *yaml.Node, prefix string, known map[string]Key) {
	n = resolved(n)
	if n.Kind != yaml.MappingNode {
		f.l.add(f.at(n), strings.TrimSuffix(prefix, "."), "wants keys with values, found "+kindOf(n))
		return
	}
	seen := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], resolved(n.Content[i+1])
		if first := seen[name.Value]; first != nil {
			f.l.add(f.at(name), prefix+name.Value, fmt.Sprintf("written twice; the first is in line %d", first.Line))
			continue
		}
		seen[name.Value] = name
		f.entry(name, value, prefix, known)
	}
}

func (f *file) entry(name, value *yaml.Node, prefix string, known map[string]Key) {
	path := prefix + name.Value
	if k, ok := known[path]; ok && name.Kind == yaml.ScalarNode {
		f.leaf(k, value)
		return
	}
	if name.Kind == yaml.ScalarNode && isSection(path, known) {
		f.l.places[path] = f.at(name)
		if value.Kind == yaml.ScalarNode && value.Tag == "!!null" {
			return // a section with nothing in it
		}
		f.mapping(value, path+".", known)
		return
	}
	text := unknownKey(name.Value, children(prefix, known))
	f.l.add(f.at(name), strings.TrimSuffix(prefix, "."), text)
}

func isSection(path string, known map[string]Key) bool {
	for k := range known {
		if strings.HasPrefix(k, path+".") {
			return true
		}
	}
	return false
}

// children are the names that may stand directly at prefix.
func children(prefix string, known map[string]Key) []string {
	var names []string
	for path := range known {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			name, _, _ := strings.Cut(rest, ".")
			names = append(names, name)
		}
	}
	return names
}

// leaf gives k the value n.
func (f *file) leaf(k Key, n *yaml.Node) {
	at := f.at(n)
	f.l.places[k.Path] = at
	isList := k.Type.Kind() == reflect.Slice
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		f.l.add(at, k.Path, "has no value; leave the line out to take the default")
	case k.list:
		f.structs(k, n)
	case isList && n.Kind == yaml.SequenceNode:
		f.scalars(k, n)
	case n.Kind != yaml.ScalarNode:
		f.l.add(at, k.Path, "wants "+wantOf(k)+", found "+kindOf(n))
	default:
		f.l.set(k, n.Value, at)
	}
}

func (f *file) scalars(k Key, n *yaml.Node) {
	list := reflect.MakeSlice(k.Type, 0, len(n.Content))
	for _, c := range n.Content {
		c = resolved(c)
		if c.Kind != yaml.ScalarNode {
			f.l.add(f.at(c), k.Path, "wants plain values in its list, found "+kindOf(c))
			continue
		}
		e := reflect.New(k.Type.Elem()).Elem()
		if err := parse(c.Value, e, false); err != nil {
			f.l.add(f.at(c), k.Path, err.Error())
		}
		list = reflect.Append(list, e)
	}
	k.value.Set(list)
}

// structs reads a list of structs; their keys are known as apps[0].id afterwards.
func (f *file) structs(k Key, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		f.l.add(f.at(n), k.Path, `wants a list, each entry beginning with "- ", found `+kindOf(n))
		return
	}
	list := reflect.MakeSlice(k.Type, len(n.Content), len(n.Content))
	for i, c := range n.Content {
		if d, ok := list.Index(i).Addr().Interface().(interface{ SetDefaults() }); ok {
			d.SetDefaults()
		}
		prefix := fmt.Sprintf("%s[%d]", k.Path, i)
		f.l.places[prefix] = f.at(c)
		known := map[string]Key{}
		walk(list.Index(i), prefix+".", func(e Key) {
			known[e.Path] = e
			f.l.keys[e.Path] = e
		})
		f.mapping(c, prefix+".", known)
	}
	k.value.Set(list)
}

// resolved follows an alias to what it stands for. An alias cannot stand for one of its own parents
// here: the schema has a bottom, so walking it ends.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys with values"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return "one value"
}

func wantOf(k Key) string {
	switch {
	case k.Type == durationType:
		return "a duration such as 10s"
	case k.bytes:
		return "a size such as 64KiB"
	case k.Type.Kind() == reflect.Bool:
		return "true or false"
	case k.Type.Kind() == reflect.Slice:
		return "a list"
	case k.Type.Kind() == reflect.String:
		return "a text"
	case reflect.PointerTo(k.Type).Implements(textType):
		return "a word"
	}
	return "a number"
}
