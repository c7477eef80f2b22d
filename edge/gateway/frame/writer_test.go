package frame_test

import (
	"bytes"
	"testing"

	"rollcall/edge/gateway/frame"
)

// A frame made around its payload is the frame that is made of it, at every length of the head.
func TestWrap(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000} {
		payload := bytes.Repeat([]byte("p"), n)
		want := frame.Append([]byte("before"), frame.Text, payload)
		got := frame.Wrap(append([]byte("before"), payload...), len("before"), frame.Text)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes: a frame of %d bytes that begins with %x, want %d and %x", n, len(got), got[:min(len(got), 20)], len(want), want[:min(len(want), 20)])
		}
	}
}
