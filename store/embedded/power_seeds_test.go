//go:build !faults

package embedded_test

// powerSeeds is how many ways of losing what was not synced are tried at every call.
const powerSeeds = 2

// stride leaves out calls and bytes: every seventh is tried, which is odd to the sizes of what is
// written.
const stride = 7
