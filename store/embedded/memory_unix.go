//go:build unix && !race

package embedded

import (
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

const (
	slabSize = 4 << 20 // what is asked of the system at a time
	hugePage = 2 << 20
)

// A slabs hands out the chunks of one index. They lie outside of the heap, so the garbage collector
// neither looks at them nor lets garbage grow in proportion to them. They go back to the system
// when the index is gone; until then, chunks that no reader can see any more are used again.
type slabs struct {
	mu    sync.Mutex
	all   *[][]byte
	rest  []byte
	spare [][]byte
}

func newSlabs(owner *index) *slabs {
	s := &slabs{all: &[][]byte{}}
	runtime.AddCleanup(owner, func(all *[][]byte) {
		for _, b := range *all {
			_ = syscall.Munmap(b) // it can only fail for an address that is not ours
		}
	}, s.all)
	return s
}

func (s *slabs) chunk() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.spare) - 1; n >= 0 {
		c := s.spare[n]
		s.spare = s.spare[:n]
		return c
	}
	if len(s.rest) == 0 {
		b, err := syscall.Mmap(-1, 0, slabSize+hugePage, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			return make([]byte, chunkSize) // the heap says it better when there is no memory at all
		}
		*s.all = append(*s.all, b)
		s.rest = b[-uintptr(unsafe.Pointer(unsafe.SliceData(b)))%hugePage:][:slabSize]
		// The first chunk of every shard stays in small pages: a store of few peers touches little
		// of each.
		if len(*s.all)*slabSize > shards*chunkSize {
			adviseHuge(s.rest)
		}
	}
	c := s.rest[:chunkSize:chunkSize]
	s.rest = s.rest[chunkSize:]
	return c
}

// release takes back the chunks of an arena that is not used any more.
func (s *slabs) release(chunks [][]byte) {
	s.mu.Lock()
	s.spare = append(s.spare, chunks...)
	s.mu.Unlock()
}
