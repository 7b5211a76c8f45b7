// Package shape reads and writes the shapes of APIs that are described by
// plain Go structs: out of an AWS Query form or a JSON document, into XML or
// JSON. A member has the name of its field. The tags of a field are its
// constraints:
//
//	aws:"required"  must be there
//	aws:"always"    answers have it even when it is empty
//	aws:"url"       is URL-encoded in XML (IAM does so with policy documents)
//	min, max        characters of a string or of each string of a list, or the range of a number
//	count           "min,max" entries of a list
//	pattern         regular expression for the whole string, or each string of a list
//	enum            the strings that it can be, parted by |
//	name            the member's name, where it is not the field's
//
// Fields are strings, ints, bools, times, pointers to those or to structs,
// structs, lists of strings and of structs, and, in answers of XML, maps from
// string to int. Embedded structs count as their fields.
package shape

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Error is an input that does not have its shape. Its message is for the caller.
type Error struct {
	// Malformed says that the input could not be read at all, or that a value
	// has another type; otherwise a constraint is broken.
	Malformed bool
	Message   string
}

func (e *Error) Error() string { return e.Message }

const (
	// maxEntries bounds a list whose shape does not.
	maxEntries = 1000
	// maxDepth bounds how deep values nest; no shape of ours comes near.
	maxDepth = 12
	// maxViolations and maxEcho bound the message for an input that breaks many constraints.
	maxViolations = 10
	maxEcho       = 256
)

// node is one value of an input before its type is known.
type node struct {
	text     string
	isText   bool // a string, or any scalar of a form
	literal  bool // a number or boolean, or any scalar of a form
	list     []*node
	isList   bool
	members  map[string]*node
	isObject bool
}

// field is one member of a shape.
type field struct {
	name      string
	path      string // as messages have it: the first letter in lower case
	index     []int
	required  bool
	always    bool
	url       bool
	min, max  int64
	hasRange  bool
	low, high int
	pattern   *regexp.Regexp
	regex     string
	enum      []string
}

// fields of a type do not change, so that they are worked out once.
var fields sync.Map // reflect.Type -> []field

func fieldsOf(t reflect.Type) []field {
	if f, ok := fields.Load(t); ok {
		return f.([]field)
	}
	var all []field
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous || !f.IsExported() {
			continue
		}
		name := cmp.Or(f.Tag.Get("name"), f.Name)
		m := field{
			name: name, path: strings.ToLower(name[:1]) + name[1:], index: f.Index,
			max: math.MaxInt64, high: maxEntries,
		}
		for word := range strings.SplitSeq(f.Tag.Get("aws"), ",") {
			m.required = m.required || word == "required"
			m.always = m.always || word == "always"
			m.url = m.url || word == "url"
		}
		if s, ok := f.Tag.Lookup("min"); ok {
			m.min, m.hasRange = mustInt(s), true
		}
		if s, ok := f.Tag.Lookup("max"); ok {
			m.max, m.hasRange = mustInt(s), true
		}
		if low, high, ok := strings.Cut(f.Tag.Get("count"), ","); ok {
			m.low, m.high = int(mustInt(low)), int(mustInt(high))
		}
		if m.regex = f.Tag.Get("pattern"); m.regex != "" {
			m.pattern = regexp.MustCompile(`\A(?:` + m.regex + `)\z`)
		}
		if s := f.Tag.Get("enum"); s != "" {
			m.enum = strings.Split(s, "|")
		}
		all = append(all, m)
	}
	fields.Store(t, all)
	return all
}

// mustInt reads a number in a tag; another text is a mistake of the program.
func mustInt(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic("shape: not a number in a tag: " + s)
	}
	return n
}

// reading is the walk of one input along its shape. The first value of a wrong
// type ends it; broken constraints are collected, as AWS lists all of them.
type reading struct {
	err        *Error
	violations []string
	more       int
}

func (r *reading) read(n *node, in any) error {
	r.structure(n, reflect.ValueOf(in).Elem(), "")
	if r.err != nil {
		return r.err
	}
	total := len(r.violations) + r.more
	if total == 0 {
		return nil
	}
	plural := "s"
	if total == 1 {
		plural = ""
	}
	return &Error{Message: fmt.Sprintf("%d validation error%s detected: %s", total, plural, strings.Join(r.violations, "; "))}
}

func (r *reading) malformed(path string) {
	if r.err == nil {
		r.err = &Error{Malformed: true, Message: fmt.Sprintf("The value at '%s' does not have the type that the API expects.", path)}
	}
}

func (r *reading) violate(value, path, constraint string) {
	if len(r.violations) == maxViolations {
		r.more++
		return
	}
	r.violations = append(r.violations, fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: %s", value, path, constraint))
}

func quote(s string) string {
	if len(s) > maxEcho {
		s = strings.ToValidUTF8(s[:maxEcho], "") + "..."
	}
	return "'" + strings.ToValidUTF8(s, "\uFFFD") + "'"
}

func (r *reading) structure(n *node, v reflect.Value, path string) {
	if !n.isObject {
		r.malformed(path)
		return
	}
	all := fieldsOf(v.Type())
	for i := range all {
		f := &all[i]
		at := f.path
		if path != "" {
			at = path + "." + at
		}
		member := n.members[f.name]
		if member == nil {
			if f.required {
				r.violate("null", at, "Member must not be null")
			}
			continue
		}
		r.value(member, v.FieldByIndex(f.index), f, at)
	}
}

var timeType = reflect.TypeFor[time.Time]()

func (r *reading) value(n *node, v reflect.Value, f *field, path string) {
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.value(n, v.Elem(), f, path)
	case v.Type() == timeType:
		t, err := parseTime(n)
		if err != nil {
			r.malformed(path)
			return
		}
		v.Set(reflect.ValueOf(t))
	case v.Kind() == reflect.String:
		if !n.isText {
			r.malformed(path)
			return
		}
		r.checkString(n.text, f, path)
		v.SetString(n.text)
	case v.Kind() == reflect.Int:
		i, err := strconv.ParseInt(n.text, 10, 32)
		if err != nil || !n.literal {
			r.malformed(path)
			return
		}
		if f.hasRange && i < f.min {
			r.violate(quote(n.text), path, fmt.Sprintf("Member must have value greater than or equal to %d", f.min))
		}
		if f.hasRange && i > f.max {
			r.violate(quote(n.text), path, fmt.Sprintf("Member must have value less than or equal to %d", f.max))
		}
		v.SetInt(i)
	case v.Kind() == reflect.Bool:
		if !n.literal || n.text != "true" && n.text != "false" {
			r.malformed(path)
			return
		}
		v.SetBool(n.text == "true")
	case v.Kind() == reflect.Slice:
		r.slice(n, v, f, path)
	case v.Kind() == reflect.Struct:
		r.structure(n, v, path)
	default:
		panic("shape: a request has a member of the type " + v.Type().String())
	}
}

func (r *reading) slice(n *node, v reflect.Value, f *field, path string) {
	if !n.isList {
		r.malformed(path)
		return
	}
	if len(n.list) < f.low {
		r.violate("'[...]'", path, fmt.Sprintf("Member must have length greater than or equal to %d", f.low))
	}
	if len(n.list) > f.high {
		// Counted, not kept.
		r.violate("'[...]'", path, fmt.Sprintf("Member must have length less than or equal to %d", f.high))
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.list), len(n.list))
	for i, entry := range n.list {
		at := path + "." + strconv.Itoa(i+1) + ".member"
		if entry == nil {
			r.violate("null", at, "Member must not be null")
			continue
		}
		r.value(entry, list.Index(i), f, at)
	}
	v.Set(list)
}

func (r *reading) checkString(s string, f *field, path string) {
	n := int64(utf8.RuneCountInString(s)) // lengths count characters
	if f.hasRange && n < f.min {
		r.violate(quote(s), path, fmt.Sprintf("Member must have length greater than or equal to %d", f.min))
	}
	if f.hasRange && n > f.max {
		r.violate(quote(s), path, fmt.Sprintf("Member must have length less than or equal to %d", f.max))
	}
	if f.pattern != nil && !f.pattern.MatchString(s) {
		r.violate(quote(s), path, "Member must satisfy regular expression pattern: "+f.regex)
	}
	if f.enum != nil {
		for _, e := range f.enum {
			if s == e {
				return
			}
		}
		r.violate(quote(s), path, "Member must satisfy enum value set: ["+strings.Join(f.enum, ", ")+"]")
	}
}

func parseTime(n *node) (time.Time, error) {
	if n.isText {
		if t, err := time.Parse(time.RFC3339, n.text); err == nil {
			return t.UTC(), nil
		}
	}
	seconds, err := strconv.ParseFloat(n.text, 64)
	if err != nil || !n.literal || math.IsNaN(seconds) || math.Abs(seconds) > 1e11 {
		return time.Time{}, fmt.Errorf("%q is not a time", n.text)
	}
	return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC(), nil
}
