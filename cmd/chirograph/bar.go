package main

import (
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bar is a progress bar on a terminal, and nothing elsewhere.
type bar struct{ b *progressbar.ProgressBar }

// newBar makes a bar; a total of -1 is not known yet.
func newBar(w io.Writer, total int64, what string) bar {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return bar{}
	}
	return bar{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionEnableColorCodes(colours(w)),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(65*time.Millisecond),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionFullWidth(),
	)}
}

func (b bar) Set(n int64) {
	if b.b != nil {
		_ = b.b.Set64(n) // a bar that cannot be drawn must not stop the work
	}
}

func (b bar) SetTotal(n int64) {
	if b.b != nil && b.b.GetMax64() != n {
		b.b.ChangeMax64(n)
	}
}

func (b bar) Clear() {
	if b.b != nil {
		_ = b.b.Finish()
	}
}

// colours tells whether w wants colours: a terminal, and NO_COLOR not set (no-color.org).
func colours(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
