package inventory

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// maxWord is how many bytes of a word are looked at in a dictionary.
const maxWord = 32

// fold appends a text as it is searched: in lower case, without the backslashes
// that reports escape with.
func fold(dst, text []byte) []byte {
	for len(text) > 0 {
		c := text[0]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			if c != '\\' {
				dst = append(dst, c)
			}
			text = text[1:]
			continue
		}
		r, n := utf8.DecodeRune(text)
		dst = utf8.AppendRune(dst, unicode.ToLower(r))
		text = text[n:]
	}
	return dst
}

// isWord tells whether a byte of a folded text belongs to a word: letters and
// digits do, and all that is not ASCII.
func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c >= utf8.RuneSelf
}

// cutWord gives where the first word of a folded text is; an empty one when there
// is none.
func cutWord(text []byte) (begin, end int) {
	for begin < len(text) && !isWord(text[begin]) {
		begin++
	}
	for end = begin; end < len(text) && isWord(text[end]); {
		end++
	}
	return begin, end
}

// holds tells whether a term stands in a folded text where a word begins. A term
// that begins with something else may stand anywhere.
func holds(text, term []byte) bool {
	for at := 0; ; {
		i := bytes.Index(text[at:], term)
		if i < 0 {
			return false
		}
		if at += i; at == 0 || !isWord(term[0]) || !isWord(text[at-1]) {
			return true
		}
		at++
	}
}

// appendText appends all that is searched of a row, folded.
func (r *row) appendText(dst []byte) []byte {
	return fold(append(fold(dst, r.subject), '\n'), r.names)
}
