// Command chart draws the pictures of docs/performance.md from what the
// programs under bench/ wrote with --output json. It is a module of its own, so
// that nothing of what it draws with is part of the product.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// document is what is drawn of a bench.Document.
type document struct {
	Program string   `json:"program"`
	Date    string   `json:"date"`
	Machine string   `json:"machine"`
	Results []result `json:"results"`
}

type result struct {
	What    string    `json:"what"`
	Size    float64   `json:"size"`
	At      float64   `json:"at"`
	Seconds float64   `json:"seconds"`
	P50     float64   `json:"p50Milliseconds"`
	P99     float64   `json:"p99Milliseconds"`
	Peak    float64   `json:"peakResidentBytes"`
	Peer    *struct{} `json:"peer"`
}

// picture is one of the pictures, of the results of one program.
type picture struct {
	file, program string
	title, x, y   string
	guide         bool // with a line of what grows as x does
	none          bool // with a place for x = 0
	// points gives where a result stands, in which line; none when it does not.
	points func(r *result) []point
}

type point struct {
	line string
	x, y float64
}

var (
	report  = regexp.MustCompile(`^(JSON|CSV), (first report|floor: .*|\d+ revoked, (?:recent|scattered))$`)
	changed = regexp.MustCompile(`^(JSON|CSV), \d+ of \d+ blocks changed$`)
)

func pictures() []picture {
	const certificates = "certificates"
	of := func(format string, y func(*result) float64) func(r *result) []point {
		return func(r *result) []point {
			if m := report.FindStringSubmatch(r.What); m != nil && m[1] == format {
				return []point{{m[2], r.Size, y(r)}}
			}
			return nil
		}
	}
	seconds := func(r *result) float64 { return r.Seconds }
	memory := func(r *result) float64 { return r.Peak / (1 << 20) }
	return []picture{
		{"report-json", "report", "JSON audit reports: time", certificates, "seconds", true, false, of("JSON", seconds)},
		{"report-csv", "report", "CSV audit reports: time", certificates, "seconds", true, false, of("CSV", seconds)},
		{"report-memory", "report", "JSON audit reports: peak memory of the whole process", certificates, "MiB", false, false, of("JSON", memory)},
		{"report-changed", "report", "Audit reports: time against what changed", "changed part of the log", "seconds", false, true, func(r *result) []point {
			if m := changed.FindStringSubmatch(r.What); m != nil {
				return []point{{fmt.Sprintf("%s, %s certificates", m[1], count(r.Size)), r.At, r.Seconds}}
			}
			return nil
		}},
		{"lookup-size", "lookup", "Look-ups: latency", certificates, "milliseconds", false, false, func(r *result) []point {
			return []point{{r.What + ", p50", r.Size, r.P50}, {r.What + ", p99", r.Size, r.P99}}
		}},
		{"start-size", "start", "Starts: time until it serves", certificates, "seconds", false, false, func(r *result) []point {
			return []point{{r.What, r.Size, r.Seconds}}
		}},
	}
}

func main() {
	to := flag.String("to", ".", "`folder` that the pictures are written to")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "chart draws SVG pictures of what the programs under bench/ wrote with --output json.\n\nUsage: go run . [flags] results.json...\n\nFlags:\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*to, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

// run draws every picture that the files have two points of a line for; there
// must be one.
func run(to string, files []string) error {
	var documents []document
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var d document
		if err := json.Unmarshal(b, &d); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		documents = append(documents, d)
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	drawn := false
	for _, p := range pictures() {
		ok, err := p.draw(to, documents)
		if err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
		drawn = drawn || ok
	}
	if !drawn {
		return errors.New("nothing to draw: pictures need report, lookup or start results of two sizes at least")
	}
	return nil
}

func (p *picture) draw(to string, documents []document) (drawn bool, err error) {
	lines := map[string]plotter.XYs{}
	var names []string // of lines, in the order of the results
	from := ""
	for _, d := range documents {
		if d.Program != p.program {
			continue
		}
		for i := range d.Results {
			r := &d.Results[i]
			if r.Peer != nil {
				continue
			}
			for _, at := range p.points(r) {
				if at.y <= 0 || at.x <= 0 && !p.none {
					continue // was not measured
				}
				if lines[at.line] == nil {
					names = append(names, at.line)
				}
				lines[at.line] = append(lines[at.line], plotter.XY{X: at.x, Y: at.y})
				from = d.Machine
			}
		}
	}
	names = slices.DeleteFunc(names, func(n string) bool { return len(lines[n]) < 2 })
	if len(names) == 0 {
		return false, nil
	}
	least, low, high := math.Inf(1), math.Inf(1), 0.0
	for _, n := range names {
		for _, at := range lines[n] {
			if at.X > 0 {
				least = min(least, at.X)
			}
			low, high = min(low, at.Y), max(high, at.Y)
		}
	}
	pl := plot.New()
	for _, t := range []*font.Variant{&pl.Title.TextStyle.Font.Variant, &pl.X.Label.TextStyle.Font.Variant, &pl.Y.Label.TextStyle.Font.Variant, &pl.X.Tick.Label.Font.Variant, &pl.Y.Tick.Label.Font.Variant, &pl.Legend.TextStyle.Font.Variant} {
		*t = "Sans"
	}
	pl.BackgroundColor = color.White // also where the page around it is dark
	pl.Title.Text = p.title + "\n" + from
	pl.Title.Padding = vg.Points(8)
	pl.X.Label.Text, pl.Y.Label.Text = p.x, p.y
	pl.X.Scale, pl.Y.Scale = plot.LogScale{}, plot.LogScale{}
	pl.X.Tick.Marker, pl.Y.Tick.Marker = decades{}, decades{}
	zero := 0.0
	if p.none {
		// Nothing changed stands a decade to the left of the least that did.
		zero = math.Pow(10, math.Floor(math.Log10(least))-1)
		pl.X.Tick.Marker = decades{zero: zero}
	}
	pl.Add(plotter.NewGrid())
	pl.Legend.Left, pl.Legend.Top, pl.Legend.Padding, pl.Legend.XOffs = true, true, vg.Points(2), vg.Points(8)
	for i, n := range names {
		xys := lines[n]
		for j := range xys {
			if xys[j].X == 0 {
				xys[j].X = zero
			}
		}
		slices.SortStableFunc(xys, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
		line, points, err := plotter.NewLinePoints(xys)
		if err != nil {
			return false, err
		}
		line.Color, line.Width = colours[i%len(colours)], vg.Points(1.5)
		points.Color, points.Shape, points.Radius = line.Color, shapes[i%len(shapes)], vg.Points(3)
		pl.Add(line, points)
		pl.Legend.Add(n, line, points)
	}
	if i := slices.Index(names, "first report"); p.guide && i >= 0 {
		first := lines[names[i]]
		end := first[len(first)-1].X
		guide, err := plotter.NewLine(plotter.XYs{first[0], {X: end, Y: first[0].Y * end / first[0].X}})
		if err != nil {
			return false, err
		}
		guide.Color, guide.Dashes = color.Gray{Y: 0x80}, []vg.Length{vg.Points(4), vg.Points(4)}
		pl.Add(guide)
		pl.Legend.Add("linear", guide)
	}
	// Points stand clear of the edges, and the decades next to them have their labels.
	pl.X.Min, pl.X.Max = pl.X.Min/1.1, pl.X.Max*1.1
	// Whole decades below, and room for the legend above.
	pl.Y.Min = math.Pow(10, math.Floor(math.Log10(low)))
	legend := min(0.6, 0.055*float64(len(names)+2))
	pl.Y.Max = pl.Y.Min * math.Pow(high/pl.Y.Min, 1/(1-legend))
	return true, save(pl, filepath.Join(to, p.file+".svg"))
}

// save writes the text as text, in a font that every browser has one like.
func save(pl *plot.Plot, name string) error {
	w, err := pl.WriterTo(18*vg.Centimeter, 12*vg.Centimeter, "svg")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		return err
	}
	svg := bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	return os.WriteFile(name, svg, 0o644)
}

// colours are told apart by people who do not see all of them (Okabe and Ito),
// and are dark enough for white.
var colours = []color.Color{
	color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff}, color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff}, color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 0xff},
	color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff}, color.RGBA{R: 0x56, G: 0xb4, B: 0xe9, A: 0xff}, color.RGBA{R: 0xe6, G: 0x9f, B: 0x00, A: 0xff}, color.RGBA{R: 0x33, G: 0x33, B: 0x33, A: 0xff},
}

var shapes = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.RingGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.CrossGlyph{}}

// decades marks powers of ten; zero, if there is one, is written as 0.
type decades struct{ zero float64 }

// Ticks implements plot.Ticker.
func (d decades) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for k := 1.0; k < 10; k++ {
			at := k * math.Pow(10, e)
			if at < low*0.999 || at > high*1.001 {
				continue
			}
			label := ""
			switch {
			case d.zero > 0 && at <= d.zero*1.001:
				label = "0"
			case k == 1:
				label = count(at)
			}
			ticks = append(ticks, plot.Tick{Value: at, Label: label})
		}
	}
	return ticks
}

// count writes numbers as the programs' flags take them.
func count(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.3gM", n/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.3gk", n/1e3)
	}
	return fmt.Sprintf("%.3g", n)
}
