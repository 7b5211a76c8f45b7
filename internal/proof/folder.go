package proof

import (
	"path"
	"strings"
)

// LogFolder is the name of the folder, beside the report, of the log that the
// manifest is about.
func (m *Manifest) LogFolder() string {
	_, epoch := splitOrigin(m.Origin, m.CA)
	return path.Base(LogFolder(m.CA[strings.LastIndexByte(m.CA, '/')+1:], epoch))
}
