package jq

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/itchyny/gojq"

	"rollcall/edge/webhook"
)

const (
	// within is how long a map may run on one call.
	within = 100 * time.Millisecond
	// maxEvents is how many events a call may carry.
	maxEvents = 1000
	// maxOutput is how large the events of a call may be together.
	maxOutput = 1 << 20
	// shown is how much of an error of a map is answered: it may quote the body.
	shown = 200
)

// A program is a map. It may be run by many goroutines at once.
type program struct {
	code *gojq.Code
	// Which of the variables the text names, since they take time to make.
	headers, query bool
}

// variables are what a map is given beside the body.
var variables = []string{"$headers", "$query", "$path"}

// compile returns the map that text is. It has no environment, no further inputs, no modules and no
// files; see bounds.go.
func compile(text string) (*program, error) {
	tree, err := gojq.Parse(text)
	if err != nil {
		if p := (*gojq.ParseError)(nil); errors.As(err, &p) {
			line, column := place(text, p.Offset-len(p.Token))
			return nil, fmt.Errorf("line %d, column %d: %w", line, column, err)
		}
		return nil, err
	}
	if err := bound(tree); err != nil {
		return nil, err
	}
	code, err := gojq.Compile(tree, gojq.WithVariables(variables), gojq.WithFunction(timesName, 2, 2, times))
	if err != nil {
		return nil, err
	}
	return &program{code: code, headers: strings.Contains(text, "$headers"), query: strings.Contains(text, "$query")}, nil
}

// place returns the line and the column at an offset, from 1.
func place(text string, offset int) (line, column int) {
	before := text[:max(0, min(offset, len(text)))]
	return 1 + strings.Count(before, "\n"), len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1
}

// run adds the events that the map makes of c to b.
func (p *program) run(c *webhook.Call, b *webhook.Batch) error {
	in, err := decode(c.Body)
	if err != nil {
		return err
	}
	var headers, query any
	if p.headers {
		headers = plainHeaders(c)
	}
	if p.query {
		query = firsts(c.Query)
	}
	events, err := p.outputs(in, headers, query, c.Rest)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		b.Ignore()
	}
	size := 0
	for _, v := range events {
		if size, err = add(v, b, size); err != nil {
			return err
		}
	}
	return nil
}

// outputs returns what the map makes of in.
func (p *program) outputs(in any, given ...any) ([]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var list []any
	for outputs := p.code.RunWithContext(ctx, in, given...); ; {
		v, more := outputs.Next()
		if err, failed := v.(error); failed {
			if h := (*gojq.HaltError)(nil); errors.As(err, &h) && h.Value() == nil {
				return list, nil
			}
			return nil, failure(err)
		}
		if !more {
			return list, nil
		}
		if len(list) == maxEvents {
			return nil, webhook.Shape("the map makes more than 1000 events of it")
		}
		list = append(list, v)
	}
}

// add adds one output and returns the size of all so far.
func add(v any, b *webhook.Batch, size int) (int, error) {
	switch v := v.(type) {
	case nil:
		b.Ignore()
		return size, nil
	case map[string]any:
		raw, err := gojq.Marshal(v)
		if err != nil {
			return size, webhook.Shape("the map makes no JSON of it")
		}
		if size += len(raw); size > maxOutput {
			return size, webhook.Shape("the map makes too much of it")
		}
		b.AddMade(raw)
		return size, nil
	}
	return size, webhook.Shape("the map makes " + gojq.TypeOf(v) + " of it, and an event is an object")
}

// failure puts an error of a map into the words of a call.
func failure(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: the map ran for more than %v", webhook.ErrBusy, within)
	}
	text := err.Error()
	if len(text) > shown {
		text = strings.ToValidUTF8(text[:shown], "") + "…"
	}
	return webhook.Shape("the map: " + text)
}

// decode reads a body in JSON, with the numbers that jq knows.
func decode(body []byte) (any, error) {
	var v any
	if !longNumber(body) { // as nearly all are: each number is a float64 with all its digits
		if err := json.Unmarshal(body, &v); err != nil {
			return nil, fmt.Errorf("%w: %w", webhook.ErrShape, err)
		}
		return v, nil
	}
	if !json.Valid(body) {
		return nil, webhook.Shape("it is no JSON")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: %w", webhook.ErrShape, err)
	}
	return numbers(v), nil
}

// longNumber reports whether more digits follow each other in body than a float64 keeps, or a
// number may be too large for one.
func longNumber(body []byte) bool {
	run := 0
	for i, c := range body {
		switch {
		case c >= '0' && c <= '9':
			if run++; run > 15 {
				return true
			}
		case (c == 'e' || c == 'E') && run > 0 && i+1 < len(body): // 1e999
			return true
		default:
			run = 0
		}
	}
	return false
}

// numbers turns the numbers in v into what jq knows. None gets more digits than a float64 has, or
// than an int.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.Atoi(v.String()); err == nil {
			return n
		}
		f, err := strconv.ParseFloat(v.String(), 64)
		if err != nil {
			return math.Copysign(math.MaxFloat64, f)
		}
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = numbers(v[name])
		}
	}
	return v
}

// plainHeaders returns the headers of c by their names in lower case, but for those that show a
// secret.
func plainHeaders(c *webhook.Call) map[string]any {
	all := make(map[string]any, len(c.Header))
	for name, values := range c.Header {
		if name != "Authorization" && name != "Cookie" {
			all[strings.ToLower(name)] = strings.Join(values, ", ")
		}
	}
	return all
}

func firsts(query map[string][]string) map[string]any {
	all := make(map[string]any, len(query))
	for name, values := range query {
		if len(values) > 0 {
			all[name] = values[0]
		}
	}
	return all
}
