package shape

import (
	"bytes"
	"encoding/xml"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// XML appends the members of out, a pointer to a struct, as the Query protocol
// answers them: lists as <member> elements, times in RFC 3339.
func XML(b *bytes.Buffer, out any) {
	xmlMembers(b, reflect.ValueOf(out).Elem(), true)
}

func xmlMembers(b *bytes.Buffer, v reflect.Value, root bool) {
	for _, f := range fieldsOf(v.Type()) {
		member := v.FieldByIndex(f.index)
		if !f.always && absent(member, root) {
			continue
		}
		xmlElement(b, f.name, member, f.url)
	}
}

func xmlElement(b *bytes.Buffer, name string, v reflect.Value, asURL bool) {
	b.WriteString("<" + name + ">")
	xmlValue(b, v, asURL)
	b.WriteString("</" + name + ">")
}

func xmlValue(b *bytes.Buffer, v reflect.Value, asURL bool) {
	switch {
	case v.Kind() == reflect.Pointer:
		xmlValue(b, v.Elem(), asURL)
	case v.Type() == timeType:
		b.WriteString(v.Interface().(time.Time).UTC().Format(time.RFC3339))
	case v.Kind() == reflect.String && asURL:
		// RFC 3986: clients do not take + for a space.
		b.WriteString(strings.ReplaceAll(url.QueryEscape(v.String()), "+", "%20"))
	case v.Kind() == reflect.String:
		_ = xml.EscapeText(b, []byte(v.String())) // a buffer takes everything
	case v.Kind() == reflect.Int:
		b.WriteString(strconv.FormatInt(v.Int(), 10))
	case v.Kind() == reflect.Bool:
		b.WriteString(strconv.FormatBool(v.Bool()))
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			xmlElement(b, "member", v.Index(i), asURL)
		}
	case v.Kind() == reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, k := range keys {
			b.WriteString("<entry>")
			xmlElement(b, "key", k, false)
			xmlElement(b, "value", v.MapIndex(k), false)
			b.WriteString("</entry>")
		}
	default:
		xmlMembers(b, v, false)
	}
}
