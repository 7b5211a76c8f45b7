// Package pcatest makes requests that break the shapes of the API, for tests.
// It reads the API's model as botocore ships it and judges by that alone: an
// oracle that is not ours.
package pcatest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// CA is the ARN of the certificate authority that all requests are about.
const CA = "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11223344-1234-1122-2233-112233445566"

// Model is the API model.
type Model struct {
	Operations map[string]struct{ Input struct{ Shape string } }
	Shapes     map[string]*Shape
}

// Shape is a shape of the model.
type Shape struct {
	Type     string
	Required []string
	Members  map[string]struct{ Shape string }
	Member   struct{ Shape string }
	Min, Max *int
	Pattern  string
	Enum     []string

	compiled *regexp.Regexp
}

// Load reads the model, which is safe for concurrent use.
func Load(t testing.TB) *Model {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "python3", "-c",
		"import json, botocore.loaders; print(json.dumps(botocore.loaders.Loader().load_service_model('acm-pca', 'service-2')))").Output()
	if err != nil {
		t.Fatalf("python3 with botocore: %v", err)
	}
	m := new(Model)
	if err := json.Unmarshal(out, m); err != nil {
		t.Fatal(err)
	}
	for _, s := range m.Shapes {
		if s.Pattern != "" {
			// Java writes \u0009 for what Go writes \x{0009}.
			s.compiled = regexp.MustCompile(`\A(?:` + javaEscape.ReplaceAllString(s.Pattern, `\x{$1}`) + `)\z`)
		}
	}
	return m
}

// Case is one request and what must become of it.
type Case struct {
	Name string
	Body []byte
	// Code is SerializationException or ValidationException; empty when the
	// request has its shape.
	Code string
	// Text is in the message of a SerializationException. Violations are what a
	// ValidationException lists, in any order.
	Text       string
	Violations []string
}

// Wrong tells what is wrong with an answer to the case; empty when nothing is.
func (c *Case) Wrong(code, message string) string {
	if code != c.Code {
		return fmt.Sprintf("got %q %q, want %q", code, message, c.Code)
	}
	if code != "ValidationException" {
		if !strings.Contains(message, c.Text) {
			return fmt.Sprintf("the message %q does not say %q", message, c.Text)
		}
		return ""
	}
	s := "s"
	if len(c.Violations) == 1 {
		s = ""
	}
	head := fmt.Sprintf("%d validation error%s detected: ", len(c.Violations), s)
	rest, ok := strings.CutPrefix(message, head)
	got := strings.Split(rest, "; ")
	slices.Sort(got)
	want := slices.Sorted(slices.Values(c.Violations))
	if !ok || !slices.Equal(got, want) {
		return fmt.Sprintf("the message is\n%q, want\n%q", message, head+strings.Join(want, "; "))
	}
	return ""
}

// samples are a value that fits and one that breaks the pattern alone, for
// every shape with a pattern.
var samples = map[string][2]string{
	"ASN1PrintableString64":  {"SN 1", "SN_1"},
	"AWSPolicy":              {`{"a":"é"}`, "\u0100"},
	"AccountId":              {"123456789012", "12345678901x"},
	"Arn":                    {CA, "arn:aws:s3:::bucket"},
	"AuditReportId":          {"11223344-1234-1122-2233-112233445566", "11223344x1234-1122-2233-112233445566"},
	"Base64String1To4096":    {"AQID", "AQI"},
	"CnameString":            {"crl.example.com", "crl example"},
	"CountryCodeString":      {"DE", "D1"},
	"CrlPathString":          {"a/b", "a//b"},
	"CustomObjectIdentifier": {"1.3.6.1.4.1.37476.1", "3.1"},
	"IdempotencyToken":       {"token-ü", "token\u0100"},
	"Principal":              {"acm.amazonaws.com", "acm.*"},
	"S3BucketName3To255":     {"bucket.name/x", "bucket name"},
	"TagKey":                 {"Key é", "key%"},
	"TagValue":               {"value", "value<"},
}

// Request is a request of an operation with every member, each of a value that fits.
func (m *Model) Request(operation string) map[string]any {
	return m.build(m.Operations[operation].Input.Shape).(map[string]any)
}

// Minimal is a request of an operation with the required members alone.
func (m *Model) Minimal(operation string) map[string]any {
	return m.minimal(m.Operations[operation].Input.Shape).(map[string]any)
}

func (m *Model) minimal(name string) any {
	s := m.Shapes[name]
	if s.Type != "structure" {
		return m.build(name)
	}
	v := map[string]any{}
	for _, member := range s.Required {
		v[member] = m.minimal(s.Members[member].Shape)
	}
	return v
}

func (m *Model) build(name string) any {
	s := m.Shapes[name]
	switch s.Type {
	case "string":
		if len(s.Enum) > 0 {
			return s.Enum[len(s.Enum)-1]
		}
		if v, ok := samples[name]; ok {
			return v[0]
		}
		n := 3
		if s.Max != nil && *s.Max < n {
			n = *s.Max
		}
		if s.Min != nil && *s.Min > n {
			n = *s.Min
		}
		return strings.Repeat("x", n)
	case "integer", "long":
		if s.Min != nil {
			return *s.Min
		}
		return 1
	case "boolean":
		return true
	case "blob":
		return base64.StdEncoding.EncodeToString([]byte("-----BEGIN"))
	case "list":
		return []any{m.build(s.Member.Shape)}
	case "structure":
		v := map[string]any{}
		for member, ref := range s.Members {
			v[member] = m.build(ref.Shape)
		}
		return v
	}
	panic("a shape of type " + s.Type)
}

// Cases calls yield with an operation's request broken at every member in every
// way that the model knows, one at a time, and with bodies that are no request.
func (m *Model) Cases(operation string, yield func(Case)) {
	shape := m.Operations[operation].Input.Shape
	good := m.Request(operation)
	encode := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // made of what encodes
		}
		return b
	}
	m.mutate(shape, "", good, func(v any) any { return v }, func(name, wrong string, body any) {
		c := Case{Name: name, Body: encode(body)}
		if wrong != "" {
			c.Code, c.Text = "SerializationException", "The value at '"+wrong+"' does not have the type that the API expects."
		} else if c.Violations = m.violations(shape, "", body); len(c.Violations) > 0 {
			c.Code = "ValidationException"
		}
		yield(c)
	})
	for _, body := range []string{
		``, ` `, `null`, `[]`, `"x"`, `{`, `{}x`, `{} {}`, `{"a":1,}`, `{"a":1,"a":2}`, `{'a':1}`, "{\"a\":\"\xff\"}", "{\"\xff\":1}", `{"a":nul}`,
		`{"a":"\ud800"}`, `{"a":01}`, `{"a":+1}`, `{"a":"` + "\n" + `"}`, "\xef\xbb\xbf{}", `{"a":1e}`,
		`{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`,
		`{"a":` + strings.Repeat(`{"a":`, 100_000), strings.Repeat("[", 500_000),
	} {
		name := body
		if len(name) > 40 {
			name = name[:40]
		}
		yield(Case{Name: name, Body: []byte(body), Code: "SerializationException", Text: "The request body "})
	}
}

// mutate calls yield with every way to change one value of the shape. put puts
// the replacement into a copy of the whole request. wrong is the path of a
// value of another type.
func (m *Model) mutate(name, path string, value any, put func(any) any, yield func(name, wrong string, body any)) {
	s := m.Shapes[name]
	try := func(what string, v any) { yield(path+" "+what, "", put(v)) }
	wrong := func(values ...any) {
		for _, v := range values {
			yield(fmt.Sprintf("%s of type %T", path, v), path, put(v))
		}
	}
	length := func(make func(n int) any) {
		if s.Min != nil && *s.Min > 0 {
			try("too short", make(*s.Min-1))
		}
		if s.Max != nil {
			try("too long", make(*s.Max+1))
		}
	}
	switch s.Type {
	case "string":
		wrong(5, true, []any{}, map[string]any{})
		if len(s.Enum) > 0 {
			try("not of the enum", "NO_SUCH_VALUE")
			try("not of the enum, in lower case", strings.ToLower(s.Enum[0])+"x")
			try("not of the enum, empty", "")
			break
		}
		length(func(n int) any { return strings.Repeat("1", n) })
		if s.Pattern != "" {
			try("against the pattern", samples[name][1])
			try("with a newline at its end", value.(string)+"\n")
		}
		if s.Max != nil {
			try("as long as allowed, in characters", strings.Repeat("ü", *s.Max))
			try("longer than echoed", strings.Repeat("ü", *s.Max+300))
		}
	case "integer", "long":
		wrong("5", 1.5, true, []any{}, json.Number("1e400"), json.Number("9223372036854775808"), json.Number("-1e30"))
		if s.Min != nil {
			try("too small", *s.Min-1)
			try("far too small", math.MinInt64)
		}
		if s.Max != nil {
			try("too large", *s.Max+1)
			try("far too large", math.MaxInt64)
		}
		try("with an exponent", json.Number(fmt.Sprintf("%de0", value)))
	case "boolean":
		wrong("true", 1, map[string]any{})
	case "blob":
		wrong(5, "not base64!", "YQ", "YQ=", "Y Q==", []any{})
		length(func(n int) any { return base64.StdEncoding.EncodeToString(make([]byte, n)) })
	case "list":
		wrong("x", 5, map[string]any{})
		element := value.([]any)[0]
		length(func(n int) any { return slices.Repeat([]any{element}, n) })
		try("with a null", []any{nil})
		m.mutate(s.Member.Shape, path+".2.member", element, func(v any) any { return put([]any{element, v}) }, yield)
	case "structure":
		if path != "" {
			wrong("x", 5, []any{})
		}
		members := value.(map[string]any)
		for _, member := range slices.Sorted(maps.Keys(s.Members)) {
			with := func(v any) any {
				c := maps.Clone(members)
				c[member] = v
				return put(c)
			}
			below := lowerFirst(member)
			if path != "" {
				below = path + "." + below
			}
			without := maps.Clone(members)
			delete(without, member)
			yield(below+" absent", "", put(without))
			yield(below+" null", "", with(nil))
			m.mutate(s.Members[member].Shape, below, members[member], with, yield)
		}
		more := maps.Clone(members)
		more["NoSuchMember"] = map[string]any{"a": []any{1, nil, "x"}}
		try("with an unknown member", more)
	}
}

// violations are the constraints that a value of the right type breaks, as AWS
// words them (operations.md 6).
func (m *Model) violations(name, path string, value any) (list []string) {
	s := m.Shapes[name]
	violate := func(text, constraint string, args ...any) {
		list = append(list, "Value "+text+" at '"+path+"' failed to satisfy constraint: "+fmt.Sprintf(constraint, args...))
	}
	length := func(text string, n int) {
		if s.Min != nil && n < *s.Min {
			violate(text, "Member must have length greater than or equal to %d", *s.Min)
		}
		if s.Max != nil && n > *s.Max {
			violate(text, "Member must have length less than or equal to %d", *s.Max)
		}
	}
	switch v := value.(type) {
	case string:
		switch {
		case s.Type == "blob":
			n := base64.StdEncoding.DecodedLen(len(v)) - strings.Count(v, "=")
			length("'<blob>'", n)
		case len(s.Enum) > 0:
			if !slices.Contains(s.Enum, v) {
				violate(quote(v), "Member must satisfy enum value set: [%s]", strings.Join(s.Enum, ", "))
			}
		default:
			length(quote(v), utf8.RuneCountInString(v))
			if s.Pattern != "" && !s.compiled.MatchString(v) {
				violate(quote(v), "Member must satisfy regular expression pattern: %s", s.Pattern)
			}
		}
	case int:
		if s.Min != nil && v < *s.Min {
			violate(fmt.Sprintf("'%d'", v), "Member must have value greater than or equal to %d", *s.Min)
		}
		if s.Max != nil && v > *s.Max {
			violate(fmt.Sprintf("'%d'", v), "Member must have value less than or equal to %d", *s.Max)
		}
	case []any:
		length("'[...]'", len(v))
		for i, element := range v {
			at := fmt.Sprintf("%s.%d.member", path, i+1)
			if element == nil {
				list = append(list, "Value null at '"+at+"' failed to satisfy constraint: Member must not be null")
			} else if s.Max == nil || i < *s.Max { // what is too much is not looked at
				list = append(list, m.violations(s.Member.Shape, at, element)...)
			}
		}
	case map[string]any:
		for member, ref := range s.Members {
			below := lowerFirst(member)
			if path != "" {
				below = path + "." + below
			}
			if v[member] != nil {
				list = append(list, m.violations(ref.Shape, below, v[member])...)
			} else if slices.Contains(s.Required, member) {
				list = append(list, "Value null at '"+below+"' failed to satisfy constraint: Member must not be null")
			}
		}
	}
	return list
}

var javaEscape = regexp.MustCompile(`\\u([0-9A-F]{4})`)

// quote is how a message shows a string: not all of a long one.
func quote(s string) string {
	if len(s) > 256 {
		s = strings.ToValidUTF8(s[:256], "") + "..."
	}
	return "'" + s + "'"
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }
