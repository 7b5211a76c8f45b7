package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

const (
	defaultProfile  = "default"
	servicesSection = "services chirograph"
)

// sections are those of one of the files that AWS clients read, in their order.
type sections []section

type section struct {
	name string // without brackets; empty for what stands before the first
	text string
}

// readSections reads a file; one that is not there has no sections.
func readSections(path string) (sections, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the client files: %w", err)
	}
	all := sections{{}}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "["); ok {
			name, _, _ = strings.Cut(name, "]")
			all = append(all, section{name: strings.TrimSpace(name)})
			continue
		}
		last := &all[len(all)-1]
		last.text += line
	}
	return all, nil
}

// with replaces the section of that name, or adds it.
func (s sections) with(name, text string) sections {
	for i := range s {
		if s[i].name == name {
			s[i].text = text
			return s
		}
	}
	return append(s, section{name, text})
}

// accessKey is the id of the access key in the section of that name; empty
// when it has none.
func (s sections) accessKey(name string) string {
	for _, section := range s {
		if section.name != name {
			continue
		}
		for line := range strings.Lines(section.text) {
			if key, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "aws_access_key_id" {
				return strings.TrimSpace(value)
			}
		}
	}
	return ""
}

// String is the file.
func (s sections) String() string {
	var b strings.Builder
	for _, section := range s {
		text := strings.Trim(section.text, "\n")
		if section.name == "" && text == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		if section.name != "" {
			b.WriteString("[" + section.name + "]\n")
		}
		if text != "" {
			b.WriteString(text + "\n")
		}
	}
	return b.String()
}

// profileText is the part of a profile that says where the server is.
func profileText(region string) string {
	return "region = " + region + "\nservices = chirograph\ns3 =\n  addressing_style = path\n  signature_version = s3v4\n"
}
