//go:build !race

package embedded

import "syscall"

// adviseHuge asks for huge pages under b: records lie all over it, and with small ones most
// look-ups miss the processor's table of pages too. The system may say no.
func adviseHuge(b []byte) { _ = syscall.Madvise(b, syscall.MADV_HUGEPAGE) }
