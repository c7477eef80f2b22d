//go:build faults

package embedded_test

// powerSeeds is how many ways of losing what was not synced are tried at every call.
const powerSeeds = 20

// stride: every call and every byte is tried.
const stride = 1
