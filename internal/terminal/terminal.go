// Package terminal is what the commands draw for a person: a progress bar and
// colours, on a terminal only.
package terminal

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Bar is a progress bar on a terminal, and nothing elsewhere.
type Bar struct{ b *progressbar.ProgressBar }

// Options say what a bar counts.
type Options struct {
	Total int64 // -1 is not known yet
	What  string
	Bytes bool // count bytes, not things
}

// NewBar makes a bar on w.
func NewBar(w io.Writer, o Options) Bar {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return Bar{}
	}
	return Bar{progressbar.NewOptions64(o.Total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(o.What),
		progressbar.OptionEnableColorCodes(Colours(w)),
		progressbar.OptionShowBytes(o.Bytes),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(65*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionFullWidth(),
	)}
}

// Set says how much is done.
func (b Bar) Set(n int64) {
	if b.b != nil {
		_ = b.b.Set64(n) // a bar that cannot be drawn must not stop the work
	}
}

// SetTotal says how much there is.
func (b Bar) SetTotal(n int64) {
	if b.b != nil && b.b.GetMax64() != n {
		b.b.ChangeMax64(n)
	}
}

// Clear takes the bar away.
func (b Bar) Clear() {
	if b.b != nil {
		_ = b.b.Finish()
	}
}

// Colours tells whether w wants colours: a terminal, and NO_COLOR not set (no-color.org).
func Colours(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
