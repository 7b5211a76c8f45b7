package iam

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// condition is one operator on one key, ready to evaluate.
type condition struct {
	key     string // lower case
	set     quantifier
	negated bool // true of a key that is absent, and of values that match none
	exists  bool // ...IfExists: true when the key is absent
	null    bool // Null: asks whether the key is absent
	unknown bool // nobody here knows what it means: met in a Deny, not in an Allow
	tag     bool // the key is a tag, which has one value
	values  []operand
}

type quantifier uint8

const (
	single quantifier = iota
	forAllValues
	forAnyValue
)

// operand is one value of a policy: it says whether a value of the request
// matches it.
type operand func(value string, find lookup) bool

// compileCondition always returns a condition; with an error it is one whose
// meaning is not known.
func compileCondition(c Condition, variables bool) (condition, error) {
	out := condition{key: strings.ToLower(c.Key)}
	out.tag = strings.Contains(out.key, "tag/")
	name := strings.ToLower(c.Operator)
	if rest, ok := strings.CutPrefix(name, "forallvalues:"); ok {
		name, out.set = rest, forAllValues
	} else if rest, ok := strings.CutPrefix(name, "foranyvalue:"); ok {
		name, out.set = rest, forAnyValue
	}
	name, out.exists = strings.CutSuffix(name, "ifexists")
	if c.Key == "" {
		return out, fmt.Errorf("the condition %s has an empty key", c.Operator)
	}
	if len(c.Values) == 0 {
		return out, fmt.Errorf("the condition %s on %s has no value", c.Operator, c.Key)
	}
	if out.null = name == "null"; out.null && (out.exists || out.set != single) {
		return out, fmt.Errorf("the operator Null cannot be combined in %s", c.Operator)
	}
	mk, negated := operandOf(name)
	out.negated = negated
	if mk == nil {
		return out, fmt.Errorf("the condition operator %q is not known", c.Operator)
	}
	for _, v := range c.Values {
		t, err := parseTemplate(v, variables)
		var o operand
		if err == nil {
			o, err = mk(v, t, variables)
		}
		if err != nil {
			return out, fmt.Errorf("the value %q of the condition %s: %w", v, c.Operator, err)
		}
		out.values = append(out.values, o)
	}
	return out, nil
}

// maker makes the operand of one value: its text, and the same as a template.
type maker func(text string, t template, variables bool) (operand, error)

// operandOf gives an operator's maker by the operator's lower-case name; nil
// for one that is not known. A negated operator matches what its positive twin
// does not.
func operandOf(name string) (mk maker, negated bool) {
	switch name {
	case "stringequals":
		return equalString(func(a, b string) bool { return a == b }), false
	case "stringnotequals":
		return equalString(func(a, b string) bool { return a == b }), true
	case "stringequalsignorecase":
		return equalString(strings.EqualFold), false
	case "stringnotequalsignorecase":
		return equalString(strings.EqualFold), true
	case "stringlike":
		return likeString, false
	case "stringnotlike":
		return likeString, true
	case "arnequals", "arnlike":
		return likeARN, false
	case "arnnotequals", "arnnotlike":
		return likeARN, true
	case "bool", "null":
		return parsed(parseBool, func(v, want bool) bool { return v == want }), false
	case "ipaddress":
		return compared(parseNetwork, inNetwork), false
	case "notipaddress":
		return compared(parseNetwork, inNetwork), true
	case "numericequals":
		return parsed(parseNumber, func(v, want float64) bool { return v == want }), false
	case "numericnotequals":
		return parsed(parseNumber, func(v, want float64) bool { return v == want }), true
	case "numericlessthan":
		return parsed(parseNumber, func(v, want float64) bool { return v < want }), false
	case "numericlessthanequals":
		return parsed(parseNumber, func(v, want float64) bool { return v <= want }), false
	case "numericgreaterthan":
		return parsed(parseNumber, func(v, want float64) bool { return v > want }), false
	case "numericgreaterthanequals":
		return parsed(parseNumber, func(v, want float64) bool { return v >= want }), false
	case "dateequals":
		return parsed(parseDate, time.Time.Equal), false
	case "datenotequals":
		return parsed(parseDate, time.Time.Equal), true
	case "datelessthan":
		return parsed(parseDate, time.Time.Before), false
	case "datelessthanequals":
		return parsed(parseDate, func(v, want time.Time) bool { return !v.After(want) }), false
	case "dategreaterthan":
		return parsed(parseDate, time.Time.After), false
	case "dategreaterthanequals":
		return parsed(parseDate, func(v, want time.Time) bool { return !v.Before(want) }), false
	}
	return nil, false
}

func equalString(equal func(a, b string) bool) maker {
	return func(_ string, t template, _ bool) (operand, error) {
		return func(value string, find lookup) bool {
			want, ok := t.expand(find)
			return ok && equal(value, want)
		}, nil
	}
}

func likeString(_ string, t template, _ bool) (operand, error) { return t.matches, nil }

func likeARN(text string, _ template, variables bool) (operand, error) {
	p, err := parseARNPattern(text, variables)
	if err == nil && !p.all && len(p.fields) != 6 {
		err = errNotARN
	}
	if err != nil {
		return nil, err
	}
	return func(value string, find lookup) bool {
		return strings.HasPrefix(value, "arn:") && p.matches(value, find)
	}, nil
}

// compared makes operands of an operator whose values have a type; a value
// without variables is read once, when the policy is parsed.
func compared[T any](parse func(string) (T, error), match func(value string, want T) bool) maker {
	return func(_ string, t template, _ bool) (operand, error) {
		if t.fixed == nil {
			return func(value string, find lookup) bool {
				s, ok := t.expand(find)
				if !ok {
					return false
				}
				want, err := parse(s)
				return err == nil && match(value, want)
			}, nil
		}
		s, _ := t.expand(nil)
		want, err := parse(s)
		if err != nil {
			return nil, err
		}
		return func(value string, _ lookup) bool { return match(value, want) }, nil
	}
}

// parsed compares both sides as the type that parse reads. A value of the
// request that is not of the type matches nothing.
func parsed[T any](parse func(string) (T, error), compare func(value, want T) bool) maker {
	return compared(parse, func(value string, want T) bool {
		v, err := parse(value)
		return err == nil && compare(v, want)
	})
}

// parseNetwork reads a CIDR block, or an address as the block of itself.
func parseNetwork(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, errors.New("it is neither an IP address nor a CIDR block")
	}
	return a.Unmap().Prefix(a.Unmap().BitLen())
}

func inNetwork(value string, want netip.Prefix) bool {
	a, err := netip.ParseAddr(value)
	return err == nil && want.Contains(a.Unmap().WithZone(""))
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("it is neither true nor false")
}

func parseNumber(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, errors.New("it is not a number")
	}
	return f, nil
}

// parseDate reads the W3C forms of ISO 8601 dates, or seconds since the epoch;
// four digits are a year.
func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02", "2006-01", "2006"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0), nil
	}
	return time.Time{}, errors.New("it is neither an ISO 8601 date nor seconds since the epoch")
}

// met says whether a request fulfils the condition. A key that is absent fails
// a positive operator, meets a negated one, and meets IfExists and
// ForAllValues; ForAnyValue needs a value.
func (c *condition) met(effect Decision, find lookup) bool {
	if c.unknown {
		return effect == ExplicitDeny
	}
	values := find(c.key)
	if c.null {
		return c.matches(strconv.FormatBool(len(values) == 0), find)
	}
	if len(values) == 0 {
		return c.exists || c.set == forAllValues || c.set == single && c.negated
	}
	if c.tag && len(values) > 1 {
		// Tags whose keys differ in case alone: which of them is meant is not
		// known, so that an Allow wants all of them and a Deny any.
		return slices.ContainsFunc(values, func(v string) bool {
			return (c.matches(v, find) != c.negated) == (effect == ExplicitDeny)
		}) == (effect == ExplicitDeny)
	}
	for _, v := range values {
		fits := c.matches(v, find) != c.negated
		switch {
		case c.set == forAnyValue && fits:
			return true
		case c.set == forAllValues && !fits:
			return false
		case c.set == single && fits != c.negated:
			// One value that matches decides: for a positive operator it is
			// enough, for a negated one it is too much.
			return !c.negated
		}
	}
	return c.set == forAllValues || c.set == single && c.negated
}

func (c *condition) matches(value string, find lookup) bool {
	for _, o := range c.values {
		if o(value, find) {
			return true
		}
	}
	return false
}
