package local

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	namespace    = "http://s3.amazonaws.com/doc/2006-03-01/"
	maxXMLBody   = 4 << 20 // 10,000 parts with checksums, or 1,000 keys of 1,024 escaped bytes
	maxXMLDepth  = 12
	maxXMLTokens = 400_000
)

// document appends S3's XML. Elements come in the order of the calls.
type document struct{ b []byte }

func newDocument(root string) *document {
	return &document{b: append([]byte(xml.Header), "<"+root+` xmlns="`+namespace+`">`...)}
}

func (d *document) open(name string)  { d.b = append(append(append(d.b, '<'), name...), '>') }
func (d *document) close(name string) { d.b = append(append(append(d.b, "</"...), name...), '>') }

func (d *document) text(name, value string) {
	d.open(name)
	d.b = appendEscaped(d.b, value)
	d.close(name)
}

// optional is text for a value that is left out when empty.
func (d *document) optional(name, value string) {
	if value != "" {
		d.text(name, value)
	}
}

func (d *document) number(name string, v int64) { d.text(name, strconv.FormatInt(v, 10)) }
func (d *document) bool(name string, v bool)    { d.text(name, strconv.FormatBool(v)) }
func (d *document) time(name string, v time.Time) {
	d.text(name, v.UTC().Format("2006-01-02T15:04:05.000Z"))
}

// appendEscaped escapes as S3 does; control characters, which XML 1.0 cannot
// hold, become references as S3 writes them (clients ask for encoding-type=url
// to avoid them).
func appendEscaped(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == '&':
				dst = append(dst, "&amp;"...)
			case c == '<':
				dst = append(dst, "&lt;"...)
			case c == '>':
				dst = append(dst, "&gt;"...)
			case c == '"':
				dst = append(dst, "&quot;"...)
			case c < 0x20 || c == 0x7f:
				dst = append(dst, "&#x"...)
				dst = strconv.AppendUint(dst, uint64(c), 16)
				dst = append(dst, ';')
			default:
				dst = append(dst, c)
			}
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		dst = utf8.AppendRune(dst, r)
		i += n
	}
	return dst
}

// boundedTokens refuses documents that are deep, long in tokens, or carry
// directives such as a DTD.
type boundedTokens struct {
	d     *xml.Decoder
	depth int
	n     int
}

var errXMLBounds = errors.New("the document is outside the bounds of a request")

func (t *boundedTokens) Token() (xml.Token, error) {
	tok, err := t.d.Token()
	if err != nil {
		return tok, err
	}
	t.n++
	switch tok.(type) {
	case xml.StartElement:
		t.depth++
	case xml.EndElement:
		t.depth--
	case xml.Directive:
		return nil, errXMLBounds
	}
	if t.depth > maxXMLDepth || t.n > maxXMLTokens {
		return nil, errXMLBounds
	}
	return tok, nil
}

// decodeXML decodes one document whose root element must be root, with S3's
// namespace or none. Elements it does not know are passed over.
func decodeXML(b []byte, root string, v any) error {
	d := xml.NewTokenDecoder(&boundedTokens{d: xml.NewDecoder(bytes.NewReader(b))})
	for {
		tok, err := d.Token()
		if err != nil {
			return errMalformedXML()
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if start.Name.Local != root || start.Name.Space != "" && start.Name.Space != namespace {
			return errMalformedXML()
		}
		if err := d.DecodeElement(v, &start); err != nil {
			return errMalformedXML()
		}
		break
	}
	for { // nothing but space and comments after the root
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errMalformedXML()
		}
		switch t := tok.(type) {
		case xml.Comment, xml.ProcInst:
		case xml.CharData:
			for _, c := range t {
				if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
					return errMalformedXML()
				}
			}
		default:
			return errMalformedXML()
		}
	}
}
