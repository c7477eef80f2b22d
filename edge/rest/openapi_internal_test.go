package rest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// An unread is an answer whose reader takes nothing until it goes.
type unread struct {
	*httptest.ResponseRecorder
	writes *atomic.Int64
	gone   chan struct{}
}

func (u unread) Write([]byte) (int, error) {
	u.writes.Add(1)
	<-u.gone
	return 0, errors.New("the reader is gone")
}

// A file of the page is unpacked a piece at a time, whoever asks; but a reader that takes nothing holds up no other.
func TestOnePieceOfThePageIsUnpackedAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := unpacking
		unpacking = make(chan struct{}, 1) // of this bubble
		defer func() { unpacking = shared }()
		var writes atomic.Int64
		gone := make(chan struct{})
		unpacking <- struct{}{} // another reader's piece
		const readers = 5
		for range readers {
			r := httptest.NewRequest(http.MethodGet, "/openapi/swagger-ui-bundle.js", http.NoBody)
			go func() { _ = (&Door{}).page(unread{httptest.NewRecorder(), &writes, gone}, r, nil) }()
		}
		synctest.Wait()
		if n := writes.Load(); n != 0 {
			t.Errorf("%d pieces are unpacked beside another", n)
		}
		<-unpacking
		synctest.Wait()
		if n := writes.Load(); n != readers || len(unpacking) != 0 {
			t.Errorf("%d of %d readers have a first piece; %d turns are held while they take nothing", n, readers, len(unpacking))
		}
		close(gone)
		synctest.Wait()
		if len(unpacking) != 0 {
			t.Error("a reader that is gone holds a turn")
		}
	})
}
