package api_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"rollcall/internal/api"
)

func TestReadBody(t *testing.T) {
	const limit = 1000
	for _, length := range []int{0, 1, limit - 1, limit, limit + 1, 5000} {
		for _, chunked := range []bool{false, true} {
			text := strings.Repeat("x", length)
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(text))
			if chunked {
				r.ContentLength = -1
			}
			got, err := api.ReadBody(httptest.NewRecorder(), r, limit, 0, nil, nil)
			if length > limit {
				if !errors.Is(err, api.ErrTooLarge) {
					t.Errorf("%d bytes, chunked %v: got %v, want ErrTooLarge", length, chunked, err)
				}
				continue
			}
			if err != nil || !bytes.Equal(got, []byte(text)) {
				t.Errorf("%d bytes, chunked %v: got %d bytes, %v", length, chunked, len(got), err)
			}
		}
	}
}

// memory is a body of which more comes than is good, and keeps what the reader has made room for.
type memory struct {
	come, most int
}

func (m *memory) Read(p []byte) (int, error) {
	m.most = max(m.most, len(p))
	if m.come == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := min(len(p), m.come)
	m.come -= n
	return n, nil
}

// Memory is taken for the bytes that came, whatever the head announces.
func TestMemoryGrowsWithTheBytesThatCame(t *testing.T) {
	for _, length := range []int64{16 << 20, -1} {
		for _, came := range []int{0, 1, 5000, 100_000, 1 << 20} {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.ContentLength, r.Body = length, io.NopCloser(&memory{come: came})
			taken := 0
			got, err := api.ReadBody(httptest.NewRecorder(), r, 16<<20, 0, nil, func(n int) bool {
				taken += n
				return true
			})
			if !errors.Is(err, api.ErrTooSlow) || len(got) != came {
				t.Errorf("length %d, %d bytes came: got %d bytes, %v", length, came, len(got), err)
			}
			if limit := 2*came + api.FreeBody; cap(got) > limit || taken > limit {
				t.Errorf("length %d, %d bytes came: %d bytes of memory, %d accounted for", length, came, cap(got), taken)
			}
			if taken < cap(got)-api.FreeBody {
				t.Errorf("length %d, %d bytes came: %d bytes of memory, only %d accounted for", length, came, cap(got), taken)
			}
		}
	}
}

func TestABodyWithoutRoomIsRefused(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat("x", 100_000)))
		if chunked {
			r.ContentLength = -1
		}
		left := 20_000
		got, err := api.ReadBody(httptest.NewRecorder(), r, 1<<20, 0, nil, func(n int) bool {
			left -= n
			return left >= 0
		})
		if !errors.Is(err, api.ErrNoRoom) || len(got) < 10_000 || len(got) > 30_000 {
			t.Errorf("chunked %v: %d bytes, %v", chunked, len(got), err)
		}
	}
}
