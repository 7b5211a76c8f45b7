package pca

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Operation is one row of the API: its name and the exceptions that its model names.
type Operation struct {
	Name   string
	Errors []Code
}

type pattern struct {
	text string
	re   *regexp.Regexp
}

// arnPattern is what the model asks of every ARN in a request.
const arnPattern = `arn:[\w+=/,.@-]+:acm-pca:[\w+=/,.@-]*:[0-9]*:[\w+=,.@-]+(/[\w+=,.@-]+)*`

func (p *pattern) matches(s string) bool {
	if p.text == arnPattern {
		return isARN(s) // ten times as fast, and in every request
	}
	return p.re.MatchString(s)
}

// isARN tells whether s matches arnPattern.
func isARN(s string) bool {
	f := strings.SplitN(s, ":", 6)
	if len(f) != 6 || f[0] != "arn" || f[1] == "" || f[2] != Service {
		return false
	}
	for i := range len(f[4]) {
		if f[4][i] < '0' || f[4][i] > '9' {
			return false
		}
	}
	for part := range strings.SplitSeq(f[5], "/") {
		if part == "" {
			return false
		}
	}
	return isARNText(f[1]) && isARNText(f[3]) && isARNText(f[5])
}

// isARNText tells whether s consists of [\w+=/,.@-].
func isARNText(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '+' <= c && c <= '9', c == '_', c == '=', c == '@':
		default:
			return false
		}
	}
	return true
}

// maxViolations bounds the message for an input that breaks constraints in
// many places; the rest is counted, not printed.
const maxViolations = 10

// maxValueInMessage bounds how much of an offending value is echoed.
const maxValueInMessage = 256

var errShape = errors.New("value does not have the type of its member")

// decoder walks one JSON document by the shape that the caller's decode
// functions describe. The first syntax or type error ends the walk; broken
// constraints are collected, as AWS lists all of them in one message.
type decoder struct {
	d          *jsontext.Decoder
	err        error
	path       []string
	violations []string
	more       int
}

func decode(b []byte, root func(*decoder)) error {
	// A bytes.Buffer is read in place; names that stand twice are an error, so
	// that nobody in between can have read the other one.
	d := decoder{d: jsontext.NewDecoder(bytes.NewBuffer(b))}
	if d.d.PeekKind() != '{' {
		return Errorf(SerializationException, "The request body must be one JSON object.")
	}
	root(&d)
	if d.err == nil {
		if _, err := d.d.ReadToken(); err != io.EOF {
			d.err = errors.New("data after the JSON object")
		}
	}
	if d.err != nil {
		return &Error{Code: SerializationException, Message: d.serializationMessage(), Err: d.err}
	}
	if n := len(d.violations) + d.more; n > 0 {
		s := "errors"
		if n == 1 {
			s = "error"
		}
		return Errorf(ValidationException, "%d validation %s detected: %s", n, s, strings.Join(d.violations, "; "))
	}
	return nil
}

func (d *decoder) serializationMessage() string {
	if errors.Is(d.err, errShape) {
		return fmt.Sprintf("The value at '%s' does not have the type that the API expects.", d.where())
	}
	return fmt.Sprintf("The request body is not valid JSON near byte %d.", d.d.InputOffset())
}

// fail keeps the first error; every later read is then a no-op.
func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *decoder) token(kind jsontext.Kind) (jsontext.Token, bool) {
	if d.err != nil {
		return jsontext.Token{}, false
	}
	if k := d.d.PeekKind(); k != kind && k != 0 {
		d.fail(errShape)
		return jsontext.Token{}, false
	}
	t, err := d.d.ReadToken()
	if err != nil {
		d.fail(err)
		return jsontext.Token{}, false
	}
	return t, true
}

// null consumes a null, which the API treats as an absent member.
func (d *decoder) null() bool {
	if d.err != nil || d.d.PeekKind() != 'n' {
		return false
	}
	_, err := d.d.ReadToken()
	if err != nil {
		d.fail(err)
	}
	return true
}

// object calls member for each name; member reads the value or returns false
// to have it skipped, since unknown members are ignored (api.md 1).
func (d *decoder) object(member func(name string) bool) {
	if _, ok := d.token('{'); !ok {
		return
	}
	for d.err == nil && d.d.PeekKind() != '}' {
		t, err := d.d.ReadToken()
		if err != nil {
			d.fail(err)
			return
		}
		name := t.String()
		d.path = append(d.path, name)
		if !member(name) {
			if err := d.d.SkipValue(); err != nil {
				d.fail(err)
			}
		}
		if d.err != nil {
			return // the path names the member that failed
		}
		d.path = d.path[:len(d.path)-1]
	}
	d.token('}')
}

func (d *decoder) list(min, max int64, element func()) {
	if _, ok := d.token('['); !ok {
		return
	}
	var n int64
	for d.err == nil && d.d.PeekKind() != ']' {
		n++
		if n > max {
			// Counted, not kept: a short body could hold a million of them.
			if err := d.d.SkipValue(); err != nil {
				d.fail(err)
			}
			continue
		}
		d.path = append(d.path, strconv.FormatInt(n, 10), "member")
		if d.null() {
			d.violate("null", "Member must not be null")
		} else {
			element()
		}
		if d.err != nil {
			return
		}
		d.path = d.path[:len(d.path)-2]
	}
	d.token(']')
	if d.err == nil {
		d.length(func() string { return "'[...]'" }, n, min, max)
	}
}

func (d *decoder) string(min, max int64, p *pattern) string {
	t, ok := d.token('"')
	if !ok {
		return ""
	}
	s := t.String()
	n := int64(len(s))
	if n > max || n < 2*utf8.UTFMax*min {
		n = int64(utf8.RuneCountInString(s)) // lengths count characters
	}
	d.length(func() string { return quote(s) }, n, min, max)
	if p != nil && !p.matches(s) {
		d.violate(quote(s), "Member must satisfy regular expression pattern: "+p.text)
	}
	return s
}

func (d *decoder) enum(values []string) string {
	t, ok := d.token('"')
	if !ok {
		return ""
	}
	s := t.String()
	for _, v := range values {
		if v == s {
			return v
		}
	}
	d.violate(quote(s), "Member must satisfy enum value set: ["+strings.Join(values, ", ")+"]")
	return s
}

func (d *decoder) bool() bool {
	if d.err != nil {
		return false
	}
	if k := d.d.PeekKind(); k != 't' && k != 'f' && k != 0 {
		d.fail(errShape)
		return false
	}
	t, err := d.d.ReadToken()
	if err != nil {
		d.fail(err)
		return false
	}
	return t.Bool()
}

// long reads an integer; a number with a fraction has the wrong type.
func (d *decoder) long(min, max int64) int64 {
	t, ok := d.token('0')
	if !ok {
		return 0
	}
	text := t.String()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(text, 64)
		if ferr != nil || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
			d.fail(errShape)
			return 0
		}
		n = int64(f)
	}
	if n < min {
		d.violate(quote(text), "Member must have value greater than or equal to "+strconv.FormatInt(min, 10))
	}
	if n > max {
		d.violate(quote(text), "Member must have value less than or equal to "+strconv.FormatInt(max, 10))
	}
	return n
}

func (d *decoder) blob(min, max int64) []byte {
	if d.err != nil {
		return nil
	}
	if k := d.d.PeekKind(); k != '"' && k != 0 {
		d.fail(errShape)
		return nil
	}
	v, err := d.d.ReadValue()
	if err != nil {
		d.fail(err)
		return nil
	}
	text := v[1 : len(v)-1]
	if bytes.IndexByte(text, '\\') >= 0 {
		text, _ = jsontext.AppendUnquote(nil, v) // was read without an error
	}
	b, err := base64.StdEncoding.AppendDecode(make([]byte, 0, base64.StdEncoding.DecodedLen(len(text))), text)
	if err != nil {
		d.fail(fmt.Errorf("%w: base64: %w", errShape, err))
		return nil
	}
	d.length(func() string { return "'<blob>'" }, int64(len(b)), min, max)
	return b
}

func (d *decoder) length(value func() string, n, min, max int64) {
	if n < min {
		d.violate(value(), "Member must have length greater than or equal to "+strconv.FormatInt(min, 10))
	}
	if n > max {
		d.violate(value(), "Member must have length less than or equal to "+strconv.FormatInt(max, 10))
	}
}

func (d *decoder) missing(name string) {
	if d.err != nil {
		return
	}
	d.path = append(d.path, name)
	d.violate("null", "Member must not be null")
	d.path = d.path[:len(d.path)-1]
}

func (d *decoder) violate(value, constraint string) {
	if len(d.violations) == maxViolations {
		d.more++
		return
	}
	d.violations = append(d.violations, "Value "+value+" at '"+d.where()+"' failed to satisfy constraint: "+constraint)
}

// where is the path as AWS prints it: every name with a small first letter.
func (d *decoder) where() string {
	names := make([]string, len(d.path))
	for i, name := range d.path {
		names[i] = lowerFirst(name)
	}
	return strings.Join(names, ".")
}

func quote(s string) string {
	if len(s) > maxValueInMessage {
		s = strings.ToValidUTF8(s[:maxValueInMessage], "") + "..."
	}
	return "'" + s + "'"
}

func lowerFirst(s string) string {
	if s == "" || s[0] < 'A' || s[0] > 'Z' {
		return s
	}
	return string(s[0]|0x20) + s[1:]
}
