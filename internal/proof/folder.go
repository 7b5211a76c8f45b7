package proof

import (
	"path"
	"strings"
)

// BaseOrigin is the origin that the log of a manifest had in its first epoch.
func (m *Manifest) BaseOrigin() string {
	if base, _ := splitOrigin(m.Origin, m.CA); base != "" {
		return base
	}
	return m.Origin
}

// LogFolder is the name of the folder, beside the report, of the log that the
// manifest is about.
func (m *Manifest) LogFolder() string {
	_, epoch := splitOrigin(m.Origin, m.CA)
	return path.Base(LogFolder(m.CA[strings.LastIndexByte(m.CA, '/')+1:], epoch))
}
