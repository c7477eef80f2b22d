package embedded_test

import (
	"testing"

	"go.uber.org/goleak"

	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const start presence.Millis = 1_772_600_767_000

func open(t testing.TB, cfg embedded.Config) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(cfg, start)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func TestStoreInMemory(t *testing.T) {
	storetest.Run(t, func(t testing.TB) storetest.Harness {
		return storetest.Harness{Store: open(t, embedded.Config{})}
	})
}
