package proof

import (
	"path"
	"strconv"
	"strings"
)

// SplitOrigin takes the epoch off the origin of a log of a CA, which is given by
// its ARN or id; the base is empty when the origin is none of a log of the CA.
func SplitOrigin(origin, ca string) (base string, epoch int) {
	id := ca[strings.LastIndexByte(ca, '/')+1:]
	if strings.HasSuffix(origin, "/audit/"+id) {
		return origin, 1
	}
	i := strings.LastIndexByte(origin, '/')
	base, number := origin[:max(i, 0)], origin[i+1:]
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n < 2 || strconv.FormatUint(n, 10) != number || !strings.HasSuffix(base, "/audit/"+id) {
		return "", 0
	}
	return base, int(n)
}

// LogFolder is the name of the folder, beside the report, of the log that the
// manifest is about.
func (m *Manifest) LogFolder() string {
	_, epoch := SplitOrigin(m.Origin, m.CA)
	return path.Base(LogFolder(m.CA[strings.LastIndexByte(m.CA, '/')+1:], epoch))
}
