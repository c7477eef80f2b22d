package nearcache

import (
	"syscall"
	"unsafe"
)

// adviseHuge asks for huge pages under the words, as far as they lie in whole ones. The system may
// say no.
func adviseHuge(words []uint64) {
	const page = 4 << 10
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*8)
	if skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % page; uintptr(len(b)) > skip+page {
		_ = syscall.Madvise(b[skip:], syscall.MADV_HUGEPAGE)
	}
}
