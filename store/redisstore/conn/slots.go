package conn

import (
	"strconv"
	"strings"
	"sync"
)

// SlotOf returns the hash slot of a key as Redis Cluster computes it: CRC16 of the first hash tag
// that is not empty, or of the whole key.
func SlotOf(key string) uint16 {
	if i := strings.IndexByte(key, '{'); i >= 0 {
		if j := strings.IndexByte(key[i+1:], '}'); j > 0 {
			key = key[i+1 : i+1+j]
		}
	}
	return crc16(key) % Slots
}

var crcTable = func() (t [256]uint16) {
	for i := range t {
		c := uint16(i) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x1021
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

// crc16 is CRC-16/XMODEM, which Redis Cluster uses.
func crc16(s string) (c uint16) {
	for i := range len(s) {
		c = c<<8 ^ crcTable[byte(c>>8)^s[i]]
	}
	return c
}

// TagOf returns a short hash tag of the slot.
func TagOf(slot uint16) string { return tags()[slot] }

// tags finds a short name for each of the 16,384 slots by trying numbers in base 36.
var tags = sync.OnceValue(func() *[Slots]string {
	var t [Slots]string
	for n, left := int64(0), Slots; left > 0; n++ {
		name := strconv.FormatInt(n, 36)
		if s := crc16(name) % Slots; t[s] == "" {
			t[s] = name
			left--
		}
	}
	return &t
})

// Slots is the number of hash slots of a Redis Cluster.
const Slots = 16384
