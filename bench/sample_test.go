package main

import (
	"math"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	hundred := make([]latency, 100)
	for i := range hundred {
		hundred[i] = latency(100 - i) // 100 … 1, to be sorted
	}
	tests := []struct {
		name   string
		values []latency
		q      float64
		want   time.Duration
	}{
		{"none", nil, 0.5, 0},
		{"one value is every percentile", []latency{7}, 0.99, 7},
		{"p0 is the least", hundred, 0, 1},
		{"p50 of 100", hundred, 0.5, 50},
		{"p99 of 100", hundred, 0.99, 99},
		{"p100 is the greatest", hundred, 1, 100},
		{"p99 of few is the greatest", []latency{3, 1, 2}, 0.99, 3},
		{"p50 of three", []latency{3, 1, 2}, 0.5, 2},
		{"p50 of four is the second", []latency{4, 3, 2, 1}, 0.5, 2},
	}
	for _, tt := range tests {
		if got := percentile(sorted(tt.values), tt.q); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := percentile(sorted([]latency{5, 1}, nil, []latency{3}), 1); got != 5 {
		t.Errorf("of several lists: got %d, want 5", got)
	}
}

func TestLatencyDoesNotWrap(t *testing.T) {
	for d, want := range map[time.Duration]latency{-1: 0, 0: 0, time.Second: 1e9, time.Minute: math.MaxUint32} {
		if got := toLatency(d); got != want {
			t.Errorf("%v: got %d, want %d", d, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	tests := []struct {
		values []float64
		want   float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	}
	for _, tt := range tests {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median of %v: got %v, want %v", tt.values, got, tt.want)
		}
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing: got %v", got)
	}
}

func TestSampleCost(t *testing.T) {
	s := sample{length: 2 * time.Second, used: map[string]time.Duration{"app": 30 * time.Millisecond, "redis": 10 * time.Millisecond}}
	if _, err := s.finish(nil, nil); err == nil {
		t.Error("a window without answers makes a figure, want an error")
	}
	s.answered = 1000
	// Some were due inside, yet answered later.
	s, err := s.finish(make([]latency, 600), make([]latency, 500))
	if err != nil {
		t.Fatal(err)
	}
	if s.cpu() != 40 || s.perSecond() != 500 {
		t.Errorf("got %v µs and %v/s, want 40 and 500", s.cpu(), s.perSecond())
	}
}
