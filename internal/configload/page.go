package configload

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// A Page writes the reference of all settings from the comments beside their fields, so that
// nothing is said twice.
type Page struct {
	Root   string            // directory of the module
	Module string            // its path
	Prefix string            // of environment variables
	Flags  map[string]string // flag of a key, where there is one

	comments map[reflect.Type]map[string]string
	types    map[reflect.Type]string
}

// Markdown returns the sections of cfg, a pointer to a struct that holds the defaults. A setting
// without a comment is an error.
func (p *Page) Markdown(cfg any) (string, error) {
	p.comments = map[reflect.Type]map[string]string{}
	p.types = map[reflect.Type]string{}
	var b strings.Builder
	section := "\x00"
	for _, k := range Keys(cfg) {
		name := ""
		if i := strings.LastIndexByte(k.Path, '.'); i >= 0 {
			name = k.Path[:i]
		}
		if elem := k.Elem(); elem != nil {
			if err := p.list(&b, k, elem); err != nil {
				return "", err
			}
			section = "\x00"
			continue
		}
		if name != section {
			section = name
			if err := p.head(&b, name, k.Owner); err != nil {
				return "", err
			}
		}
		if err := p.row(&b, k, true); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func (p *Page) head(b *strings.Builder, name string, owner reflect.Type) error {
	if name == "" {
		b.WriteString("\n## At the top\n")
	} else {
		text, err := p.typeComment(owner)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "\n## %s\n\n%s\n", name, text)
	}
	b.WriteString("\n| key | default | range | variable, flag | what it does |\n| --- | --- | --- | --- | --- |\n")
	return nil
}

// list writes the section of a list of structs.
func (p *Page) list(b *strings.Builder, k Key, elem []Key) error {
	text, err := p.comment(k)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "\n## %s\n\nA list. %s%s\n\n| key of an entry | default | range | | what it does |\n| --- | --- | --- | --- | --- |\n", k.Path, text, live(k))
	for _, e := range elem {
		if err := p.row(b, e, false); err != nil {
			return err
		}
	}
	return nil
}

func (p *Page) row(b *strings.Builder, k Key, outside bool) error {
	text, err := p.comment(k)
	if err != nil {
		return err
	}
	def := "`" + k.Default + "`"
	if k.Default == "" {
		def = "none"
	}
	how := ""
	if outside {
		how = "`" + k.Variable(p.Prefix) + "`"
		if f := p.Flags[k.Path]; f != "" {
			how += ", `" + f + "`"
		}
	}
	span := ""
	if k.Range != "" {
		span = "`" + strings.ReplaceAll(k.Range, ",", ", ") + "`"
	}
	fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s |\n", k.Path, def, span, how, strings.ReplaceAll(text, "|", "\\|")+live(k))
	return nil
}

// live returns what the page says of a setting that a reload takes up.
func live(k Key) string {
	if k.Live {
		return " *Live.*"
	}
	return ""
}

// comment returns the words beside the field of k.
func (p *Page) comment(k Key) (string, error) {
	if err := p.read(k.Owner); err != nil {
		return "", err
	}
	text := p.comments[k.Owner][k.Field]
	if text == "" {
		return "", fmt.Errorf("%s.%s, the setting %s, has no comment", k.Owner, k.Field, k.Path)
	}
	return sentence(text, k.Field), nil
}

// typeComment returns the comment of the struct t.
func (p *Page) typeComment(t reflect.Type) (string, error) {
	if err := p.read(t); err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(strings.Join(strings.Fields(p.types[t]), " "), ". ")
	return sentence(first, t.Name()), nil
}

// sentence makes one line of a comment that reads well without its Go name. Links in brackets lose
// them.
func sentence(text, name string) string {
	text = strings.NewReplacer("[", "", "]", "").Replace(strings.Join(strings.Fields(text), " "))
	if rest, ok := strings.CutPrefix(text, name+" "); ok {
		text = rest
		for _, verb := range []string{"is ", "are "} {
			text = strings.TrimPrefix(text, verb)
		}
	}
	if text == "" {
		return ""
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}

// read parses the package of t once for each type.
func (p *Page) read(t reflect.Type) error {
	if _, ok := p.comments[t]; ok {
		return nil
	}
	p.comments[t] = map[string]string{}
	room, ok := strings.CutPrefix(t.PkgPath(), p.Module+"/")
	if !ok {
		return fmt.Errorf("%s is not a type of %s", t, p.Module)
	}
	dir := filepath.Join(p.Root, room)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, e.Name()), nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			if g, ok := d.(*ast.GenDecl); ok {
				p.specs(t, g)
			}
		}
	}
	return nil
}

func (p *Page) specs(t reflect.Type, g *ast.GenDecl) {
	for _, s := range g.Specs {
		ts, ok := s.(*ast.TypeSpec)
		if !ok || ts.Name.Name != t.Name() {
			continue
		}
		doc := ts.Doc
		if doc == nil {
			doc = g.Doc
		}
		p.types[t] = doc.Text()
		st, ok := ts.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, f := range st.Fields.List {
			text := f.Doc.Text()
			if text == "" {
				text = f.Comment.Text()
			}
			for _, n := range f.Names {
				p.comments[t][n.Name] = text
			}
		}
	}
}
