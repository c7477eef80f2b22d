package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report gathers the samples of a run.
type report struct {
	Machine  machine  `json:"machine"`
	Settings settings `json:"settings"`
	Skipped  []string `json:"skipped,omitempty"`
	Results  []result `json:"results"`

	began   stolenTime
	works   []work
	targets []*target
	samples map[[2]string][]sample // by work and server, in the order of the rounds
}

type machine struct {
	Time       string `json:"time"`
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Kernel     string `json:"kernel"`
	FileSystem string `json:"fileSystem"`
	Go         string `json:"go"`
	// Percent of the cores' time that the host gave to others during the rounds.
	Stolen float64 `json:"stolenPercent"`
}

type settings struct {
	Seconds float64 `json:"seconds"`
	Rounds  int     `json:"rounds"`
	Peers   int     `json:"peers"`
	Conns   int     `json:"conns"`
	Rate    int     `json:"openLoopRate"`
	Seed    uint64  `json:"seed"`
	Quick   bool    `json:"quick"`
}

// A result is one line of a table: medians over the rounds.
type result struct {
	Work      string  `json:"work"`
	Server    string  `json:"server"`
	Version   string  `json:"version"`
	CPU       float64 `json:"cpuMicrosPerRequest"`
	CPUMin    float64 `json:"cpuMicrosMin"`
	CPUMax    float64 `json:"cpuMicrosMax"`
	PerSecond float64 `json:"requestsPerSecond"`
	P50       float64 `json:"p50Millis"`
	P99       float64 `json:"p99Millis"`
	LateP99   float64 `json:"sentLateP99Millis,omitempty"`
	LeftP99   float64 `json:"p99SinceSentMillis,omitempty"`
	RSS       float64 `json:"rssMiB"`
	// Medians of the ratios within each round, so that a machine that slows down for a while slows
	// both sides. Absent when the other server did not run.
	OverConstant *float64 `json:"timesConstant,omitempty"`
	UnderNode    *float64 `json:"timesCheaperThanNodeRecipe,omitempty"`
	OverEmbedded *float64 `json:"timesEmbedded,omitempty"`
	// Of the ids that came to a near cache, the percentage that it answered; absent where there is
	// none.
	CacheHits *float64       `json:"nearCacheHitPercent,omitempty"`
	Windows   []reportWindow `json:"windows"`
}

type reportWindow struct {
	Requests  int                `json:"requests"`
	Seconds   float64            `json:"seconds"`
	CPU       map[string]float64 `json:"cpuMicrosPerRequestByProcess"`
	P50       float64            `json:"p50Millis"`
	P99       float64            `json:"p99Millis"`
	RSS       float64            `json:"rssMiB"`
	DriverCPU float64            `json:"driverCPUMicrosPerRequest"`
	LateP99   float64            `json:"sentLateP99Millis,omitempty"`
	LeftP99   float64            `json:"p99SinceSentMillis,omitempty"`
}

func newReport(ctx context.Context, o options, r *rig) *report {
	return &report{
		Machine: machine{
			Time:       time.Now().UTC().Format(time.RFC3339),
			CPU:        cpuModel(),
			Cores:      runtime.NumCPU(),
			Kernel:     output(ctx, "uname", "-sr"),
			FileSystem: fileSystem(r.dir),
			Go:         runtime.Version(),
		},
		Settings: settings{o.seconds, o.rounds, o.peers, o.conns, o.rate, o.seed, o.quick},
		Skipped:  r.skipped,
		began:    readStolen(),
		works:    o.works,
		samples:  map[[2]string][]sample{},
	}
}

func cpuModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(b) {
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(key)) == "model name" {
			return string(bytes.TrimSpace(value))
		}
	}
	return runtime.GOARCH
}

func (r *report) add(w work, t *target, s sample) {
	if !slices.Contains(r.targets, t) {
		r.targets = append(r.targets, t)
	}
	key := [2]string{w.name, t.name}
	r.samples[key] = append(r.samples[key], s)
	r.Machine.Stolen = readStolen().percentSince(r.began)
}

func (r *report) result(w work, t *target) result {
	samples := r.samples[[2]string{w.name, t.name}]
	of := func(figure func(sample) float64) []float64 {
		var v []float64
		for _, s := range samples {
			v = append(v, figure(s))
		}
		return v
	}
	cpu := of(sample.cpu)
	res := result{
		Work: w.name, Server: t.name, Version: t.version,
		CPU: median(cpu), CPUMin: slices.Min(cpu), CPUMax: slices.Max(cpu),
		PerSecond:    median(of(sample.perSecond)),
		P50:          median(of(func(s sample) float64 { return millis(s.p50) })),
		P99:          median(of(func(s sample) float64 { return millis(s.p99) })),
		LateP99:      median(of(func(s sample) float64 { return millis(s.late99) })),
		LeftP99:      median(of(func(s sample) float64 { return millis(s.left99) })),
		RSS:          median(of(func(s sample) float64 { return mebi(s.rss) })),
		OverConstant: r.ratio(w.name, t.name, nameConstant),
		UnderNode:    r.ratio(w.name, nameNode, t.name),
		CacheHits:    hitPercent(samples),
	}
	if t.name != nameEmbedded {
		res.OverEmbedded = r.ratio(w.name, t.name, nameEmbedded)
	}
	for _, s := range samples {
		v := reportWindow{
			Requests: s.answered, Seconds: s.length.Seconds(), CPU: map[string]float64{},
			P50: millis(s.p50), P99: millis(s.p99), RSS: mebi(s.rss), DriverCPU: s.each(s.driver), LateP99: millis(s.late99), LeftP99: millis(s.left99),
		}
		for name, d := range s.used {
			v.CPU[name] = s.each(d)
		}
		res.Windows = append(res.Windows, v)
	}
	return res
}

// ratio is the median over the rounds of one server's cost divided by another's in the same round.
func (r *report) ratio(work, above, below string) *float64 {
	a, b := r.samples[[2]string{work, above}], r.samples[[2]string{work, below}]
	var v []float64
	for i := range min(len(a), len(b)) {
		v = append(v, a[i].cpu()/b[i].cpu())
	}
	m := median(v)
	if math.IsNaN(m) || math.IsInf(m, 0) {
		return nil
	}
	return &m
}

// hitPercent is over all windows; nil when no near cache was asked.
func hitPercent(samples []sample) *float64 {
	var hits, misses float64
	for _, s := range samples {
		hits, misses = hits+s.hits, misses+s.misses
	}
	if hits+misses == 0 {
		return nil
	}
	percent := 100 * hits / (hits + misses)
	return &percent
}

func (r *report) markdown(w io.Writer) {
	m, s := r.Machine, r.Settings
	fmt.Fprintf(w, "# Benchmark of %s\n\n", m.Time)
	fmt.Fprintf(w, "%s, %d cores, %s, %s; data on %s.\n", m.CPU, m.Cores, m.Kernel, m.Go, m.FileSystem)
	fmt.Fprintf(w, "%d known peers, half online; 1 id in %d unknown; %d connections; medians of %d rounds of %g s.\n", s.Peers, unknownEvery, s.Conns, s.Rounds, s.Seconds)
	fmt.Fprintf(w, "The host lent %.1f %% of the cores' time to others meanwhile.\n", m.Stolen)
	fmt.Fprintf(w, "CPU is µs of server CPU per request, all its processes together, Redis included.\n")
	if s.Quick {
		fmt.Fprintf(w, "\n**A quick run: it shows that everything works; its figures are not for comparing.**\n")
	}
	for _, line := range r.Skipped {
		fmt.Fprintf(w, "\n%s.\n", line)
	}
	fmt.Fprintf(w, "\n| server | what it is | version |\n| --- | --- | --- |\n")
	for _, t := range r.targets {
		fmt.Fprintf(w, "| %s | %s | %s |\n", t.name, t.about, t.version)
	}
	for _, work := range r.works {
		title := work.about
		if work.open {
			title += fmt.Sprintf(" (%d/s)", s.Rate)
		}
		fmt.Fprintf(w, "\n## %s: %s\n\n", work.name, title)
		head := []string{"server", "CPU µs", "lowest–highest", "× constant", "cheaper than Node recipe", "requests/s", "p50 ms", "p99 ms", "RSS MiB"}
		onRedis := slices.ContainsFunc(r.targets, func(t *target) bool { return t.cached != nil })
		beside := onRedis || slices.ContainsFunc(r.targets, func(t *target) bool { return t.name == nameBefore })
		if beside {
			head = append(head, "× "+nameEmbedded)
		}
		if onRedis {
			head = append(head, "near cache")
		}
		if work.open {
			head = append(head, "sent late, p99 ms", "p99 ms since sent")
		}
		rows := [][]string{head}
		for _, t := range r.targets {
			v := r.result(work, t)
			row := []string{
				v.Server, fmt.Sprintf("%.1f", v.CPU), fmt.Sprintf("%.1f–%.1f", v.CPUMin, v.CPUMax),
				times(v.OverConstant), times(v.UnderNode), fmt.Sprintf("%.0f", v.PerSecond),
				fmt.Sprintf("%.3f", v.P50), fmt.Sprintf("%.3f", v.P99), fmt.Sprintf("%.1f", v.RSS),
			}
			if beside {
				row = append(row, times(v.OverEmbedded))
			}
			if onRedis {
				row = append(row, percent(v.CacheHits))
			}
			if work.open {
				row = append(row, fmt.Sprintf("%.3f", v.LateP99), fmt.Sprintf("%.3f", v.LeftP99))
			}
			rows = append(rows, row)
		}
		table(w, rows)
	}
}

func times(f *float64) string {
	if f == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f ×", *f)
}

func percent(f *float64) string {
	if f == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f %%", *f)
}

// table writes rows as Markdown, aligned so that it can be read in a terminal too. The first row is
// the head.
func table(w io.Writer, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-len([]rune(cell)))
			if i == 0 {
				fmt.Fprintf(w, "| %s%s ", cell, pad)
			} else {
				fmt.Fprintf(w, "| %s%s ", pad, cell)
			}
		}
		fmt.Fprintln(w, "|")
		if n == 0 {
			for i := range row {
				if i == 0 {
					fmt.Fprintf(w, "| %s ", strings.Repeat("-", width[i]))
				} else {
					fmt.Fprintf(w, "| %s: ", strings.Repeat("-", width[i]-1))
				}
			}
			fmt.Fprintln(w, "|")
		}
	}
}

func (r *report) writeJSON(path string) error {
	for _, work := range r.works {
		for _, t := range r.targets {
			r.Results = append(r.Results, r.result(work, t))
		}
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
