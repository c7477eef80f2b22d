package ask

import (
	"strconv"
	"time"
)

// An Answer is what a question is answered, in the order of the question, with its age. The zero
// Answer holds nothing and can be used again and again, so that its memory is.
type Answer[T any] struct {
	values []T
	age    time.Duration
}

// Read returns the answer and its age: for how long a part of the store had been unreachable, and 0
// for an answer of now. A door that shows the first shows the second. The values are valid until
// the next question into a.
func (a *Answer[T]) Read() (values []T, age time.Duration) { return a.values, a.age }

// grow returns n values of a to be filled in.
func (a *Answer[T]) grow(n int) []T {
	a.age = 0
	if cap(a.values) < n {
		a.values = make([]T, n)
	}
	a.values = a.values[:n]
	return a.values
}

// drop leaves nothing to be read.
func (a *Answer[T]) drop() { a.values, a.age = a.values[:0], 0 }

// AgeText writes an age for clients: in seconds, with milliseconds.
func AgeText(age time.Duration) string { return strconv.FormatFloat(age.Seconds(), 'f', 3, 64) }
