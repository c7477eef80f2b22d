package api_test

import (
	"testing"

	"rollcall/internal/api"
)

func TestRatesAreMeansOfTheLastMinute(t *testing.T) {
	var r api.Meter
	if got := r.PerSecond(); got != (api.Rates{}) {
		t.Errorf("before the first second: %+v", got)
	}
	for i := range int64(5) {
		r.Sample(api.Totals{Reports: 10 * i})
	}
	if got := r.PerSecond().Reports; got != 10 {
		t.Errorf("after 4s: %v reports/s, want 10", got)
	}
	for i := range int64(200) {
		r.Sample(api.Totals{Reports: 40, Queries: 3 * i})
	}
	if got := r.PerSecond(); got.Reports != 0 || got.Queries != 3 {
		t.Errorf("after a minute without reports: %+v", got)
	}
}
