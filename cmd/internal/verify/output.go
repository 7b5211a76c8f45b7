package verify

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/terminal"
)

// marks and colours (ANSI) of the answers.
var marks = map[string]struct{ word, colour string }{
	proof.Pass:    {"ok", "32"},
	proof.Fail:    {"FAIL", "1;31"},
	proof.Unknown: {"?", "33"},
}

// print says the result to a person.
func print(w io.Writer, r *proof.Result, o *options, remembered bool) error {
	colour := terminal.Colours(w)
	b := bufio.NewWriter(w)
	paint := func(code, text string) string {
		if !colour {
			return text
		}
		return "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	if r.Manifest != nil {
		fmt.Fprintf(b, "report  %s, %s, made %s\n", r.Report, r.Manifest.Format, r.Created.UTC().Format(time.RFC3339))
		fmt.Fprintf(b, "of      %s\n", r.CA)
		fmt.Fprintf(b, "log     %s: %d entries\n", r.Origin, r.Entries)
		fmt.Fprintf(b, "rows    %d, %d of them revoked\n\n", r.Rows, r.Revoked)
	}
	for _, v := range r.Verdicts {
		m := marks[v.Status]
		words := v.Words
		if v.Class != "" {
			words = "[" + v.Class + "] " + words
		}
		fmt.Fprintf(b, "%s  %-13s %s\n", paint(m.colour, fmt.Sprintf("%-4s", m.word)), v.Name, wrap(words, 20))
	}
	for _, e := range r.Epochs {
		fmt.Fprintf(b, "%s  %s\n", paint("33", "!   "), wrap(e, 6))
	}
	if len(r.Sample) > 0 {
		fmt.Fprintf(b, "\nThe rows that the nonce %q draws, %d of %d; look each up at its owner:\n", o.nonce, len(r.Sample), r.Rows)
		for _, s := range r.Sample {
			fmt.Fprintf(b, "  row %d, byte %d, serial %s: %s\n", s.Row, s.Offset, s.Serial, plain(strings.TrimRight(s.Text, "\r\n,")))
		}
	}
	if len(r.NotProven) > 0 {
		fmt.Fprintln(b, "\nNot proven by this:")
		for _, n := range r.NotProven {
			fmt.Fprintf(b, "  - %s\n", wrap(n, 4))
		}
	}
	fmt.Fprintf(b, "\n%s\n", meaning(r, paint))
	if remembered {
		fmt.Fprintf(b, "Remembered in %s: the next report of this CA is checked against this one.\n", o.state)
	}
	return b.Flush()
}

// plain is a text from a log with all that a terminal might act on written out:
// who asks for a certificate chooses its subject.
func plain(text string) string {
	var b strings.Builder
	for _, r := range text {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// wrap breaks a text into lines of readable length, all but the first with an
// indent.
func wrap(text string, indent int) string {
	const width = 96
	var b strings.Builder
	at := indent
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case at+1+len(word) > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	return b.String()
}

// meaning is what the exit code says.
func meaning(r *proof.Result, paint func(code, text string) string) string {
	code := r.ExitCode()
	text := ""
	switch {
	case code == exitTampered:
		text = "Not as it should be: see the lines marked FAIL."
		text = paint("1;31", text)
	case code == exitOK && r.Verdict(proof.Completeness).Status != proof.Pass:
		text = paint("1;32", "The file is the one that was signed, of a log that grew from what was known. Whether it is complete was not asked (--quick).")
	case code == exitOK:
		text = paint("1;32", "Verified.")
	case r.Verdict(proof.Authenticity).Status != proof.Pass:
		text = paint("33", "Nothing is wrong, but nobody vouches for the log's key: give the CA's certificate with --ca-certificate.")
	case r.Epoch > 1:
		text = paint("33", "Nothing is wrong with what is there, but the log was recovered after a loss: ask the operator about what is described above.")
	case r.Verdict(proof.Completeness).Status != proof.Pass:
		text = paint("33", "The file is the one that was signed. Whether it is complete was not asked (--quick), and nothing from before was compared with it.")
	default:
		text = paint("33", "Nothing is wrong, and nothing from before was known to compare with: a history rewritten before today would not show.")
	}
	return text + fmt.Sprintf(" (exit code %d)", code)
}
