package shape

import (
	"bytes"
	"encoding/xml"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

type tag struct {
	Key   string `aws:"required" min:"1" max:"4" pattern:"[a-z]+"`
	Value string `aws:"always" max:"4"`
}

type paging struct {
	Marker   string `min:"1"`
	MaxItems int    `min:"1" max:"1000"`
}

type input struct {
	Name   string  `aws:"required" min:"2" max:"8" pattern:"\\w+"`
	Status string  `enum:"Active|Inactive"`
	Note   *string `max:"5"`
	Force  bool    `aws:""`
	Since  time.Time
	Tags   []tag    `count:"0,3"`
	Keys   []string `count:"1,2" max:"4"`
	Inner  struct{ Deep []tag }
	paging // promoted fields of unexported structs count, too
}

func TestForm(t *testing.T) {
	t.Parallel()
	note := ""
	for _, row := range []struct {
		form string
		want input
		err  string // "" none; "!" malformed; otherwise part of the message
	}{
		{"Name=ab", input{Name: "ab"}, ""},
		{"Name=ab&Unknown=1&Unknown2.member.1=x&Action=x", input{Name: "ab"}, ""},
		{"Name=ab&Note=&Force=true&MaxItems=7&Since=2026-01-02T03%3A04%3A05Z", input{Name: "ab", Note: &note, Force: true, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), paging: paging{MaxItems: 7}}, ""},
		{"Name=ab&Since=1.5", input{Name: "ab", Since: time.UnixMilli(1500).UTC()}, ""},
		{"Name=ab&Tags.member.2.Key=b&Tags.member.1.Key=a&Tags.member.1.Value=x", input{Name: "ab", Tags: []tag{{"a", "x"}, {"b", ""}}}, ""},
		{"Name=ab&Inner.Deep.member.1.Key=a", input{Name: "ab", Inner: struct{ Deep []tag }{[]tag{{"a", ""}}}}, ""},
		{"Name=ab&Tags=&Keys.member.1=x", input{Name: "ab", Tags: []tag{}, Keys: []string{"x"}}, ""},
		{"", input{}, "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null"},
		{"Name=a", input{}, "Value 'a' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 2"},
		{"Name=" + strings.Repeat("ü", 8), input{}, "Member must satisfy regular expression pattern: \\w+"},
		{"Name=a-b%0A", input{}, "pattern"},
		{"Name=abcdefghi", input{}, "less than or equal to 8"},
		{"Name=ab&Status=active", input{}, "Member must satisfy enum value set: [Active, Inactive]"},
		{"Name=ab&MaxItems=0", input{}, "Member must have value greater than or equal to 1"},
		{"Name=ab&MaxItems=1001", input{}, "'maxItems' failed to satisfy constraint: Member must have value less than or equal to 1000"},
		{"Name=ab&Marker=", input{}, "greater than or equal to 1"},
		{"Name=a&Tags.member.1.Value=xxxxx", input{}, "3 validation errors detected: "},
		{"Name=ab&Keys=", input{}, "at 'keys'"},
		{"Name=ab&Keys.member.1=a&Keys.member.2=b&Keys.member.3=c", input{}, "Value '[...]' at 'keys'"},
		{"Name=ab&Keys.member.1=abcde", input{}, "at 'keys.1.member'"},
		{"Name=ab&MaxItems=x", input{}, "!"},
		{"Name=ab&MaxItems=99999999999", input{}, "!"},
		{"Name=ab&Force=yes", input{}, "!"},
		{"Name=ab&Since=yesterday", input{}, "!"},
		{"Name=ab&Since=NaN", input{}, "!"},
		{"Name=ab&Tags.member.x.Key=a", input{}, "!"},
		{"Name=ab&Tags=x", input{}, "!"},
		{"Name.member.1=ab", input{}, "!"},
		{"Name=ab&Name=cd", input{}, "!"},
		{"Name=ab&" + strings.Repeat("x.", 40) + "=1", input{}, "!"},
	} {
		form, err := url.ParseQuery(row.form)
		if err != nil {
			t.Fatal(err)
		}
		var got input
		check(t, row.form, Form(form, &got), row.err)
		if row.err == "" && !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: %+v, want %+v", row.form, got, row.want)
		}
	}
}

func check(t *testing.T, in string, err error, want string) {
	t.Helper()
	var e *Error
	switch {
	case want == "" && err == nil:
	case want == "" || !errors.As(err, &e) || e.Malformed != (want == "!") || want != "!" && !strings.Contains(e.Message, want):
		t.Errorf("%s: %v, want %q", in, err, want)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		body string
		want input
		err  string
	}{
		{`{"Name":"ab","Extra":[{}],"Status":null}`, input{Name: "ab"}, ""},
		{` {"Name":"ab","Tags":[{"Key":"a"}],"Keys":["x"],"MaxItems":3,"Force":true,"Since":1.5}`,
			input{Name: "ab", Tags: []tag{{"a", ""}}, Keys: []string{"x"}, Force: true, Since: time.UnixMilli(1500).UTC(), paging: paging{MaxItems: 3}}, ""},
		{`{}`, input{}, "at 'name'"},
		{`{"Name":"a"}`, input{}, "at 'name'"},
		{`{"Name":"ab","Keys":[null]}`, input{}, "Value null at 'keys.1.member'"},
		{`{"Name":"ab","MaxItems":"3"}`, input{}, "!"},
		{`{"Name":"ab","Force":"true"}`, input{}, "!"},
		{`{"Name":1}`, input{}, "!"},
		{`{"Name":"ab","Tags":{}}`, input{}, "!"},
		{`{"Name":"ab","Name":"cd"}`, input{}, "!"},
		{`{"Name":"ab"} {}`, input{}, "!"},
		{`{"Name":"ab"`, input{}, "!"},
		{`[]`, input{}, "!"},
		{`null`, input{}, "!"},
		{``, input{}, "!"},
		{strings.Repeat("[", 1000), input{}, "!"},
	} {
		var got input
		check(t, row.body, JSON([]byte(row.body), &got), row.err)
		if row.err == "" && !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: %+v, want %+v", row.body, got, row.want)
		}
	}
}

type output struct {
	Name     string
	Document string `aws:"url"`
	At       time.Time
	Never    time.Time
	Tags     []tag
	Empty    []string
	Inner    *struct {
		Count int
		None  []string
		On    bool
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	out := &struct {
		output
		Sums map[string]int
	}{output{Name: "<a & b>\x01", Document: `{"a": "b+c"}`, At: time.UnixMilli(1526401743081), Tags: []tag{{"k", ""}}}, map[string]int{"b": 2, "a": 1}}
	out.Inner = &struct {
		Count int
		None  []string
		On    bool
	}{Count: 3}
	var b bytes.Buffer
	XML(&b, out)
	const want = "<Name>&lt;a &amp; b&gt;\uFFFD</Name><Document>%7B%22a%22%3A%20%22b%2Bc%22%7D</Document><At>2018-05-15T16:29:03Z</At>" +
		"<Tags><member><Key>k</Key><Value></Value></member></Tags><Empty></Empty><Inner><Count>3</Count><On>false</On></Inner>" +
		"<Sums><entry><key>a</key><value>1</value></entry><entry><key>b</key><value>2</value></entry></Sums>"
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
	if err := xml.Unmarshal([]byte("<x>"+b.String()+"</x>"), new(struct{})); err != nil {
		t.Error(err)
	}
	out.Name = "a\"b"
	if got := string(AppendJSON(nil, &out.output)); got != `{"Name":"a\"b","Document":"{\"a\": \"b+c\"}","At":1526401743.081,"Tags":[{"Key":"k","Value":""}],"Empty":[],"Inner":{"Count":3,"On":false}}` {
		t.Error(got)
	}
}

// FuzzForm: no form makes the reader fail in another way than with an Error,
// and what it accepts keeps the constraints.
func FuzzForm(f *testing.F) {
	for _, s := range []string{"Name=ab", "Name=ab&Tags.member.2.Key=b&Tags.member.1=x", "Keys=&Name=a", "Tags.member.1.Key.member.1=x&Tags=y", "Inner.Deep.member.01.Key=a&Name=abc", "..=.&member.1=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		form, err := url.ParseQuery(s)
		if err != nil {
			return
		}
		var in input
		if err := Form(form, &in); err != nil {
			if e := (*Error)(nil); !errors.As(err, &e) || len(e.Message) > 16<<10 {
				t.Errorf("%T with a message of %d bytes", err, len(err.Error()))
			}
			return
		}
		if len(in.Name) < 2 || len(in.Name) > 8 || len(in.Tags) > 3 || len(in.Keys) > 2 || in.MaxItems < 0 || in.MaxItems > 1000 {
			t.Errorf("%q gives %+v", s, in)
		}
	})
}

// FuzzJSON is the same for documents.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"Name":"ab"}`, `{"Name":"ab","Tags":[{"Key":"a"}],"Keys":["x"],"MaxItems":3}`, `[[[`, `{"Since":1e400,"Name":"ab"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var in input
		err := JSON(b, &in)
		if e := (*Error)(nil); err != nil && !errors.As(err, &e) {
			t.Errorf("%T", err)
		}
		if err == nil && (len(in.Name) < 2 || len(in.Name) > 8) {
			t.Errorf("%q gives %+v", b, in)
		}
	})
}
