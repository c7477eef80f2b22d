package limit_test

import (
	"testing"

	"rollcall/internal/limit"
)

func TestAHolderHasAtMostHalfOfWhatOthersLeave(t *testing.T) {
	s := limit.NewShare[string](100, 0)
	most := func(holder string) (n int64) {
		for s.Take(holder, 1) {
			n++
		}
		return n
	}
	for _, tt := range []struct {
		holder string
		want   int64
	}{{"a", 50}, {"b", 25}, {"c", 13}, {"a", 0}, {"", 12}, {"d", 0}, {"", 0}} {
		if got := most(tt.holder); got != tt.want {
			t.Errorf("%q gets %d, want %d", tt.holder, got, tt.want)
		}
	}
	if s.Used() != 100 || s.Refused() != 7 {
		t.Errorf("%d used, %d refused", s.Used(), s.Refused())
	}
	s.Give("a", 50)
	if got := most("d"); got != 25 {
		t.Errorf("of the 50 that were given back another gets %d, want 25", got)
	}
	if s.Take("e", 26) {
		t.Error("more was taken at once than there is room for")
	}
	s.Give("b", 25)
	s.Give("c", 13)
	s.Give("", 12)
	s.Give("d", 25)
	if s.Used() != 0 {
		t.Errorf("%d is left in use", s.Used())
	}
}

func TestAppsAndAddressesShare(t *testing.T) {
	for _, apps := range []int{1, 2} {
		s := limit.NewShared(100, 0, apps)
		hold := s.Hold("a", home)
		if hold.Grow(51) || !hold.Grow(50) {
			t.Error("an address does not have half")
		}
		if got := s.Hold("a", home.Next()).Grow(25); got != (apps == 1) {
			t.Errorf("of %d apps one takes more than half from two addresses: %v", apps, got)
		}
		if !s.Take("b", home.Next().Next(), 10) {
			t.Error("another app finds nothing left")
		}
		used := s.Used()
		hold.Release()
		hold.Release()
		if s.Used() != used-50 {
			t.Errorf("a release leaves %d in use", s.Used())
		}
	}
	var none *limit.Shared
	if !none.Take("a", home, 1<<40) {
		t.Error("nothing is a limit")
	}
}

func TestAHolderHasNoMoreThanTheMost(t *testing.T) {
	s := limit.NewShare[string](100, 7)
	if s.Take("a", 8) || !s.Take("a", 7) || s.Take("a", 1) || !s.Take("b", 7) {
		t.Error("a holder has not exactly the most that one may have")
	}
	if !s.Take("", 50) {
		t.Error("the most of a holder binds what has none")
	}
}
