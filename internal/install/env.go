package install

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
)

// A Variable is one of the environment of the service.
type Variable struct{ Name, Value string }

var variableName = regexp.MustCompile(`^(ROLLCALL|LEANCLOUD|REDIS_URL)_[A-Za-z0-9_]+$`)

// ReadEnv reads lines of NAME=VALUE. An error names the line and never its value.
func ReadEnv(r io.Reader) ([]Variable, error) {
	var found []Variable
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		switch {
		case !ok || !variableName.MatchString(name):
			return nil, fmt.Errorf("line %d: expected NAME=VALUE with a name that begins with ROLLCALL_, LEANCLOUD_ or REDIS_URL_", n)
		case strings.ContainsFunc(value, unicode.IsControl):
			return nil, fmt.Errorf("line %d: the value of %s has a control character", n, name)
		}
		found = append(found, Variable{name, value})
	}
	return found, lines.Err()
}

const envHead = "# Keys, and settings as ROLLCALL_... variables; only root reads this file.\n"

// merged returns the environment file old with the given variables in force; its other lines stay.
func merged(old string, given []Variable) string {
	if old == "" {
		old = envHead
	}
	last := map[string]string{}
	for _, v := range given {
		last[v.Name] = v.Value
	}
	var out strings.Builder
	for line := range strings.Lines(old) {
		name, _, ok := strings.Cut(line, "=")
		if _, replaced := last[strings.TrimSpace(name)]; ok && replaced {
			continue
		}
		out.WriteString(strings.TrimSuffix(line, "\n") + "\n")
	}
	for _, v := range given {
		if value, ok := last[v.Name]; ok {
			fmt.Fprintf(&out, "%s=%s\n", v.Name, quoted(value))
			delete(last, v.Name)
		}
	}
	return out.String()
}

// quoted writes a value as systemd reads it in an environment file.
func quoted(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", `$`, `\$`).Replace(value) + `"`
}

// valueOf returns the value of a variable in an environment file, as merged writes it.
func valueOf(text, name string) (value string) {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name+"="); ok {
			value = strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return value
}
