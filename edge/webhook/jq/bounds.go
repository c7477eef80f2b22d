package jq

import (
	"errors"
	"maps"
	"math/big"
	"reflect"

	"github.com/itchyny/gojq"
)

// A map ends at its deadline, which gojq looks at between two of its steps. One step may be large
// by itself: "*" repeats a text up to 2 GiB, and a map that makes milliseconds of seconds by
// .time * 1000 does so when the sender writes a text there. So "*" is one of ours, which repeats
// nothing.
//
// Not bounded are maps that the configuration would have to mean: a value that is doubled again and
// again (memory grows until the deadline, and a value that holds itself so is written whole), and
// an assignment to an index that comes from the body (an array of that length is made).

const timesName = "_times"

// bound has tree use our "*", and refuses what a map may not use.
func bound(tree *gojq.Query) error {
	if tree.Meta != nil || len(tree.Imports) > 0 {
		return errors.New("there are no modules")
	}
	var err error
	visit(reflect.ValueOf(tree), func(q *gojq.Query) {
		switch q.Op {
		case gojq.OpMul:
			call := &gojq.Func{Name: timesName, Args: []*gojq.Query{q.Left, q.Right}}
			q.Term, q.Left, q.Op, q.Right = &gojq.Term{Type: gojq.TermTypeFunc, Func: call}, nil, 0, nil
		case gojq.OpUpdateMul:
			err = errors.New("*= is not there; write .a |= . * 2")
		}
	})
	return err
}

// visit calls fn for every query in v, those inside first.
func visit(v reflect.Value, fn func(*gojq.Query)) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		visit(v.Elem(), fn)
		if q, ok := v.Interface().(*gojq.Query); ok {
			fn(q)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			visit(v.Field(i), fn)
		}
	case reflect.Slice:
		for i := range v.Len() {
			visit(v.Index(i), fn)
		}
	}
}

// times is "*" for numbers and objects.
func times(_ any, args []any) any {
	if l, ok := args[0].(map[string]any); ok {
		if r, ok := args[1].(map[string]any); ok {
			return merged(l, r)
		}
	}
	if l, ok := args[0].(int); ok {
		if r, ok := args[1].(int); ok && (l == 0 || l*r/l == r && !(l == -1 && r == -r)) {
			return l * r
		}
	}
	l, left := number(args[0])
	r, right := number(args[1])
	if !left || !right {
		return errors.New("cannot multiply " + gojq.TypeOf(args[0]) + " and " + gojq.TypeOf(args[1]))
	}
	return l * r
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	case *big.Int:
		f, _ := v.Float64()
		return f, true
	}
	return 0, false
}

// merged returns l with the members of r; objects in both are merged.
func merged(l, r map[string]any) map[string]any {
	out := maps.Clone(l)
	for name, v := range r {
		a, both := out[name].(map[string]any)
		b, object := v.(map[string]any)
		if both && object {
			v = merged(a, b)
		}
		out[name] = v
	}
	return out
}
