package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"rollcall/edge/gateway/frame"
)

// client writes one frame as a client does: masked.
func client(final bool, op byte, payload []byte) []byte {
	b := []byte{op}
	if final {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xFFFF:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

type received struct {
	op      frame.Op
	payload string
}

// feed gives b to a reader in pieces of size and returns what came out.
func feed(t testing.TB, r *frame.Reader, b []byte, size int) ([]received, error) {
	t.Helper()
	var got []received
	for len(b) > 0 {
		n := min(size, len(b))
		piece := append([]byte(nil), b[:n]...)
		b = b[n:]
		err := r.Feed(piece, func(op frame.Op, p []byte) error {
			got = append(got, received{op, string(p)})
			return nil
		})
		if err != nil {
			return got, err
		}
	}
	return got, nil
}

func TestMessagesComeWholeHoweverTheyAreSplit(t *testing.T) {
	long := strings.Repeat("0123456789", 7000)
	var wire []byte
	wire = append(wire, client(true, 2, []byte("one"))...)
	wire = append(wire, client(false, 1, []byte("t"))...)
	wire = append(wire, client(true, 9, []byte("ping inside"))...)
	wire = append(wire, client(false, 0, nil)...)
	wire = append(wire, client(true, 0, []byte("wo"))...)
	wire = append(wire, client(true, 2, []byte(long[:200]))...)
	wire = append(wire, client(true, 2, []byte(long))...)
	wire = append(wire, client(true, 10, nil)...)
	want := []received{
		{frame.Binary, "one"},
		{frame.Ping, "ping inside"},
		{frame.Text, "two"},
		{frame.Binary, long[:200]},
		{frame.Binary, long},
		{frame.Pong, ""},
	}
	for _, size := range []int{1, 2, 3, 7, 100, 4096, len(wire)} {
		r := frame.Reader{Limit: 1 << 20}
		got, err := feed(t, &r, wire, size)
		if err != nil {
			t.Fatalf("in pieces of %d: %v", size, err)
		}
		if len(got) != len(want) {
			t.Fatalf("in pieces of %d: %d messages, want %d", size, len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("in pieces of %d: message %d is %v %.20q, want %v %.20q", size, i, got[i].op, got[i].payload, want[i].op, want[i].payload)
			}
		}
		if r.Holding() != 0 {
			t.Errorf("in pieces of %d: %d bytes are held with nothing unfinished", size, r.Holding())
		}
	}
}

func TestBrokenRulesHaveTheirCloseCode(t *testing.T) {
	unmasked := frame.Append(nil, frame.Binary, []byte("x"))
	reserved := client(true, 2, []byte("x"))
	reserved[0] |= 0x40
	longWay := append([]byte{0x82, 0x80 | 126, 0, 5, 0, 0, 0, 0}, "hello"...)
	negative := []byte{0x82, 0x80 | 127, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0}
	fragments := client(false, 2, []byte("x"))
	for range 2000 {
		fragments = append(fragments, client(false, 0, nil)...)
	}
	tests := []struct {
		name string
		wire []byte
		code int
	}{
		{"a frame without a mask", unmasked, frame.CloseProtocol},
		{"a reserved bit", reserved, frame.CloseProtocol},
		{"an unknown opcode", client(true, 3, nil), frame.CloseProtocol},
		{"an unknown control opcode", client(true, 11, nil), frame.CloseProtocol},
		{"a control frame of 126 bytes", client(true, 9, make([]byte, 126)), frame.CloseProtocol},
		{"a control frame in fragments", client(false, 9, nil), frame.CloseProtocol},
		{"a continuation of nothing", client(true, 0, nil), frame.CloseProtocol},
		{"a message inside another", append(client(false, 2, nil), client(true, 2, nil)...), frame.CloseProtocol},
		{"a length in more bytes than it needs", longWay, frame.CloseProtocol},
		{"a length beyond all numbers", negative, frame.CloseProtocol},
		{"one byte over the limit", client(true, 2, make([]byte, 1001)), frame.CloseTooBig},
		{"over the limit in fragments", append(client(false, 2, make([]byte, 600)), client(true, 0, make([]byte, 401))...), frame.CloseTooBig},
		{"fragments for ever", fragments, frame.ClosePolicy},
		{"text that is not UTF-8", client(true, 1, []byte{0xff, 0xfe}), frame.ClosePayload},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{1, len(tt.wire)} {
				r := frame.Reader{Limit: 1000}
				_, err := feed(t, &r, tt.wire, size)
				var e *frame.Error
				if !errors.As(err, &e) || e.Code != tt.code {
					t.Errorf("in pieces of %d: %v, want close code %d", size, err, tt.code)
				}
			}
		})
	}
}

func TestATooLongFrameIsRefusedByItsHeader(t *testing.T) {
	r := frame.Reader{Limit: 1000}
	_, err := feed(t, &r, client(true, 2, make([]byte, 1<<20))[:14], 14)
	if err == nil {
		t.Error("the header of a frame of 1 MiB was taken by a reader with a limit of 1000")
	}
}

func TestAReaderKeepsLittle(t *testing.T) {
	const limit = 8 << 10
	r := frame.Reader{Limit: limit}
	wire := append(client(false, 2, make([]byte, limit/2)), client(true, 0, make([]byte, limit/2))...)
	if _, err := feed(t, &r, wire[:len(wire)-1], 1); err != nil {
		t.Fatal(err)
	}
	if r.Holding() > 3*limit {
		t.Errorf("%d bytes are held for a message of %d", r.Holding(), limit)
	}
}

func TestCloseFrames(t *testing.T) {
	tests := []struct {
		name    string
		payload []byte
		code    int
		reason  string
		refused int
	}{
		{"without a code", nil, frame.CloseNone, "", 0},
		{"normal", []byte{0x03, 0xE8, 'b', 'y', 'e'}, 1000, "bye", 0},
		{"an application's", []byte{0x10, 0x0E}, 4110, "", 0},
		{"one byte", []byte{3}, 0, "", frame.CloseProtocol},
		{"1005 on the wire", []byte{0x03, 0xED}, 0, "", frame.CloseProtocol},
		{"below 1000", []byte{0, 5}, 0, "", frame.CloseProtocol},
		{"5000", []byte{0x13, 0x88}, 0, "", frame.CloseProtocol},
		{"a reason that is not UTF-8", []byte{0x03, 0xE8, 0xff}, 0, "", frame.ClosePayload},
	}
	for _, tt := range tests {
		code, reason, err := frame.ParseClose(tt.payload)
		var e *frame.Error
		errors.As(err, &e)
		switch {
		case tt.refused == 0 && (err != nil || code != tt.code || reason != tt.reason):
			t.Errorf("%s: %d %q %v, want %d %q", tt.name, code, reason, err, tt.code, tt.reason)
		case tt.refused != 0 && (e == nil || e.Code != tt.refused):
			t.Errorf("%s: %v, want close code %d", tt.name, err, tt.refused)
		}
	}
}

func TestALongReasonIsCutBetweenCharacters(t *testing.T) {
	b := frame.AppendClose(nil, 4115, strings.Repeat("é", 100))
	if len(b) > 2+125 {
		t.Fatalf("a close frame of %d bytes", len(b))
	}
	code, reason, err := frame.ParseClose(b[2:])
	if err != nil || code != 4115 || !strings.HasPrefix(strings.Repeat("é", 100), reason) || len(reason) < 120 {
		t.Errorf("%d %q %v", code, reason, err)
	}
}

func TestAnErrorOfTheOwnerStopsTheReader(t *testing.T) {
	stop := errors.New("stop")
	r := frame.Reader{Limit: 100}
	calls := 0
	err := r.Feed(append(client(true, 2, nil), client(true, 2, nil)...), func(frame.Op, []byte) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%d calls and %v, want one and %v", calls, err, stop)
	}
}

// FuzzReader splits what a client sent in two ways: both must yield the same, and nothing beyond
// the limit is kept.
func FuzzReader(f *testing.F) {
	f.Add(client(true, 2, []byte("hello")), uint8(1))
	f.Add(append(client(false, 1, []byte("a")), client(true, 0, []byte("b"))...), uint8(3))
	f.Add(client(true, 8, []byte{3, 232}), uint8(2))
	f.Add(client(true, 9, bytes.Repeat([]byte("x"), 126)), uint8(5))
	f.Add(frame.Append(nil, frame.Text, []byte("unmasked")), uint8(4))
	f.Fuzz(func(t *testing.T, wire []byte, size uint8) {
		const limit = 512
		whole, pieces := frame.Reader{Limit: limit}, frame.Reader{Limit: limit}
		a, errA := feed(t, &whole, wire, max(len(wire), 1))
		b, errB := feed(t, &pieces, wire, int(size)+1)
		if (errA == nil) != (errB == nil) || errA != nil && errA.Error() != errB.Error() {
			t.Fatalf("whole: %v, in pieces: %v", errA, errB)
		}
		if len(a) != len(b) {
			t.Fatalf("whole: %d messages, in pieces: %d", len(a), len(b))
		}
		for i := range a {
			if a[i] != b[i] {
				t.Fatalf("message %d: %v and %v", i, a[i], b[i])
			}
			if len(a[i].payload) > limit {
				t.Fatalf("message %d has %d bytes", i, len(a[i].payload))
			}
		}
		if errB == nil && pieces.Holding() > 4*limit+2*256 {
			t.Fatalf("%d bytes are held", pieces.Holding())
		}
	})
}
