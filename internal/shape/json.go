package shape

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// JSON reads a JSON object into in, a pointer to a struct. Unknown members are
// ignored, null is an absent member. Errors are *Error.
func JSON(body []byte, in any) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(body))
	n, err := readJSON(d, 0)
	if err == nil {
		if _, err = d.ReadToken(); errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			err = errors.New("data after the JSON object")
		}
	}
	switch {
	case err != nil:
		return &Error{Malformed: true, Message: fmt.Sprintf("The request body is not valid JSON near byte %d.", d.InputOffset())}
	case n == nil || !n.isObject:
		return &Error{Malformed: true, Message: "The request body must be one JSON object."}
	}
	return new(reading).read(n, in)
}

// readJSON reads one value; null is nil.
func readJSON(d *jsontext.Decoder, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deep")
	}
	t, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch t.Kind() {
	case 'n':
		return nil, nil
	case '"':
		return &node{text: t.String(), isText: true}, nil
	case '0', 't', 'f':
		return &node{text: t.String(), literal: true}, nil
	case '[':
		n := &node{isList: true}
		for d.PeekKind() != ']' {
			entry, err := readJSON(d, depth+1)
			if err != nil {
				return nil, err
			}
			n.list = append(n.list, entry)
		}
		_, err := d.ReadToken()
		return n, err
	}
	n := &node{isObject: true, members: map[string]*node{}}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String() // a token is good until the next one is read
		value, err := readJSON(d, depth+1)
		if err != nil {
			return nil, err
		}
		if value != nil {
			n.members[key] = value
		}
	}
	_, err = d.ReadToken()
	return n, err
}

// AppendJSON appends out, a pointer to a struct, as AWS JSON: times are epoch
// seconds with three decimals, empty strings, times, pointers and lists of
// nested values are left out.
func AppendJSON(b []byte, out any) []byte {
	return appendJSON(b, reflect.ValueOf(out).Elem(), true)
}

func appendJSON(b []byte, v reflect.Value, root bool) []byte {
	switch {
	case v.Kind() == reflect.Pointer:
		return appendJSON(b, v.Elem(), false)
	case v.Type() == timeType:
		ms := v.Interface().(time.Time).UnixMilli()
		return strconv.AppendFloat(b, float64(ms)/1000, 'f', 3, 64)
	case v.Kind() == reflect.String:
		b, _ = jsontext.AppendQuote(b, v.String()) // its error is of invalid UTF-8, which it replaces
		return b
	case v.Kind() == reflect.Int:
		return strconv.AppendInt(b, v.Int(), 10)
	case v.Kind() == reflect.Bool:
		return strconv.AppendBool(b, v.Bool())
	case v.Kind() == reflect.Slice:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, v.Index(i), false)
		}
		return append(b, ']')
	}
	b = append(b, '{')
	first := true
	for _, f := range fieldsOf(v.Type()) {
		member := v.FieldByIndex(f.index)
		if !f.always && absent(member, root) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b, _ = jsontext.AppendQuote(b, f.name)
		b = append(b, ':')
		b = appendJSON(b, member, false)
	}
	return append(b, '}')
}

// absent says whether an answer leaves a member out. The lists of the answer
// itself are always there, so that clients see an empty one.
func absent(v reflect.Value, root bool) bool {
	switch {
	case v.Type() == timeType, v.Kind() == reflect.String, v.Kind() == reflect.Pointer:
		return v.IsZero()
	case v.Kind() == reflect.Slice:
		return v.Len() == 0 && !root
	}
	return false
}
