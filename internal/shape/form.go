package shape

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Form reads an AWS Query form into in, a pointer to a struct. Lists are
// X.member.N, members of structs X.Member. Unknown members are ignored.
// Errors are *Error.
func Form(form url.Values, in any) error {
	root := &node{isObject: true, members: map[string]*node{}}
	for key, values := range form {
		if len(values) > 1 {
			// Somebody in between could have read the other one.
			return &Error{Malformed: true, Message: "The parameter " + quote(key) + " is given more than once."}
		}
		if !root.put(key, values[0]) {
			return &Error{Malformed: true, Message: "The parameter " + quote(key) + " is nested too deep."}
		}
	}
	root.shapeLists()
	return new(reading).read(root, in)
}

// put stores a value at its dotted path.
func (n *node) put(key, value string) bool {
	for range maxDepth {
		name, rest, more := strings.Cut(key, ".")
		child := n.members[name]
		if child == nil {
			child = &node{}
			if n.members == nil {
				n.members = map[string]*node{}
			}
			n.members[name] = child
		}
		if !more {
			child.text, child.isText, child.literal = value, true, true
			return true
		}
		n, key = child, rest
	}
	return false
}

// shapeLists tells lists from structs: a list has the one member "member",
// whose members are numbers. An empty value stands for an empty list, too.
func (n *node) shapeLists() {
	for _, child := range n.members {
		child.shapeLists()
	}
	if n.isText && n.text == "" && n.members == nil {
		n.isList = true
		return
	}
	if n.members == nil {
		return
	}
	n.isObject = true
	entries := n.members["member"]
	if entries == nil || entries.members == nil {
		return
	}
	type entry struct {
		at    int
		value *node
	}
	list := make([]entry, 0, len(entries.members))
	for name, value := range entries.members {
		at, err := strconv.ParseUint(name, 10, 31)
		if err != nil {
			return
		}
		list = append(list, entry{int(at), value})
	}
	slices.SortFunc(list, func(a, b entry) int { return a.at - b.at })
	n.isList = true
	for _, e := range list {
		n.list = append(n.list, e.value)
	}
}
