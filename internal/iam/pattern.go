package iam

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// template is a text of a policy with its wildcards and variables: parts of
// plain text, in which * and ? are wildcards where the operator says so,
// between variables such as ${aws:username}, whose values hold no wildcards.
type template struct {
	parts []part
	fixed glob // when no part is a variable
}

type part struct {
	text     string // plain text, or the text that ${*}, ${?} and ${$} stand for
	literal  bool   // wildcards in text are characters
	variable string // key, lower case; then text is the default
	fallback bool   // the variable has a default
}

// lookup gives the values of a condition key by its lower-case name.
type lookup func(key string) []string

// parseTemplate reads a text; without variables (before 2012-10-17) a $ is a $.
func parseTemplate(s string, variables bool) (template, error) {
	var t template
	for variables {
		before, after, ok := strings.Cut(s, "${")
		if !ok {
			break
		}
		name, rest, ok := strings.Cut(after, "}")
		if !ok {
			return template{}, errors.New("a policy variable ${ lacks its }")
		}
		t.parts = append(t.parts, part{text: before})
		switch name {
		case "*", "?", "$":
			t.parts = append(t.parts, part{text: name, literal: true})
		default:
			key, value, ok := strings.Cut(name, ",")
			p := part{variable: strings.ToLower(strings.TrimSpace(key)), literal: true, fallback: ok}
			if ok {
				value = strings.TrimSpace(value)
				if len(value) < 2 || value[0] != '\'' || value[len(value)-1] != '\'' {
					return template{}, errors.New("the default of a policy variable must stand in single quotes")
				}
				p.text = value[1 : len(value)-1]
			}
			if p.variable == "" {
				return template{}, errors.New("a policy variable has no name")
			}
			t.parts = append(t.parts, p)
		}
		s = rest
	}
	t.parts = append(t.parts, part{text: s})
	t.fix()
	return t, nil
}

func (t *template) fix() {
	for _, p := range t.parts {
		if p.variable != "" {
			return
		}
	}
	t.fixed, _ = t.glob(nil)
}

// value is the part's text; false when its variable has no single value. What
// cannot be resolved equals nothing.
func (p *part) value(find lookup) (string, bool) {
	if p.variable == "" {
		return p.text, true
	}
	if v := find(p.variable); len(v) == 1 {
		return v[0], true
	}
	return p.text, p.fallback
}

// expand is the text for operators without wildcards.
func (t *template) expand(find lookup) (string, bool) {
	if len(t.parts) == 1 {
		return t.parts[0].text, true
	}
	var b strings.Builder
	for i := range t.parts {
		s, ok := t.parts[i].value(find)
		if !ok {
			return "", false
		}
		b.WriteString(s)
	}
	return b.String(), true
}

// glob is the pattern for operators with wildcards.
func (t *template) glob(find lookup) (glob, bool) {
	if t.fixed != nil {
		return t.fixed, true
	}
	g := glob{}
	for i := range t.parts {
		s, ok := t.parts[i].value(find)
		if !ok {
			return nil, false
		}
		for _, r := range s {
			switch {
			case r == '*' && !t.parts[i].literal:
				r = anyRun
			case r == '?' && !t.parts[i].literal:
				r = anyOne
			}
			g = append(g, r)
		}
	}
	return g, true
}

func (t *template) matches(s string, find lookup) bool {
	g, ok := t.glob(find)
	return ok && g.match(s)
}

// glob is a pattern of characters and wildcards.
type glob []rune

const (
	anyRun rune = -1 // *, also no character at all
	anyOne rune = -2 // ?
)

// match compares in time proportional to len(g)*len(s), whatever they hold.
func (g glob) match(s string) bool {
	i, j := 0, 0           // in g and s
	star, resume := -1, -1 // the last *, and where it began to match
	for j < len(s) {
		r, n := utf8.DecodeRuneInString(s[j:])
		switch {
		case i < len(g) && g[i] == anyRun:
			star, resume = i, j
			i++
		case i < len(g) && (g[i] == anyOne || g[i] == r):
			i, j = i+1, j+n
		case star >= 0: // let the last * take one more character
			_, n := utf8.DecodeRuneInString(s[resume:])
			resume += n
			i, j = star+1, resume
		default:
			return false
		}
	}
	for i < len(g) && g[i] == anyRun {
		i++
	}
	return i == len(g)
}

// arnPattern matches ARNs field by field: a wildcard does not cross a colon,
// but the sixth field has the rest.
type arnPattern struct {
	all    bool // the pattern is *
	fields []template
}

var errNotARN = errors.New(`it is neither "*" nor an ARN such as arn:aws:s3:::bucket/*`)

func parseARNPattern(s string, variables bool) (arnPattern, error) {
	if s == "*" {
		return arnPattern{all: true}, nil
	}
	t, err := parseTemplate(s, variables)
	if err != nil {
		return arnPattern{}, err
	}
	// Cut at the colons of the text, not at those inside of ${...}.
	fields := make([]template, 1, 6)
	for _, p := range t.parts {
		for p.variable == "" && !p.literal && len(fields) < 6 {
			before, after, ok := strings.Cut(p.text, ":")
			if !ok {
				break
			}
			last := &fields[len(fields)-1]
			last.parts = append(last.parts, part{text: before})
			fields = append(fields, template{})
			p.text = after
		}
		last := &fields[len(fields)-1]
		last.parts = append(last.parts, p)
	}
	for i := range fields {
		fields[i].fix()
	}
	if len(fields) < 2 || !fields[0].fixed.match("arn") {
		return arnPattern{}, errNotARN
	}
	return arnPattern{fields: fields}, nil
}

// completed fills up an incomplete ARN with wildcards, as IAM does for resources.
func (p arnPattern) completed() arnPattern {
	for !p.all && len(p.fields) < 6 {
		t := template{parts: []part{{text: "*"}}}
		t.fix()
		p.fields = append(p.fields, t)
	}
	return p
}

// resolves says whether every variable of the pattern has a value.
func (p arnPattern) resolves(find lookup) bool {
	for i := range p.fields {
		if _, ok := p.fields[i].glob(find); !ok {
			return false
		}
	}
	return true
}

func (p arnPattern) matches(s string, find lookup) bool {
	if p.all {
		return true
	}
	for i := range p.fields {
		field := s
		if i < 5 {
			var ok bool
			if field, s, ok = strings.Cut(s, ":"); !ok {
				return false
			}
		}
		if !p.fields[i].matches(field, find) {
			return false
		}
	}
	return len(p.fields) == 6
}
