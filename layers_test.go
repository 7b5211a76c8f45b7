package chirograph_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "chirograph.dev/"

// floors says on which floor a room stands. A room imports only from floors
// below it; rooms of one floor do not know each other. A package below a room
// (store/sqlite, bucket/local, pca/gen) may also import its own room.
//
// When this test fails, move the code, not the table.
var floors = map[string]int{
	"internal/pca":      0,
	"internal/certlog":  0,
	"internal/sigv4":    0,
	"internal/keystore": 0,
	"internal/iam":      0,
	"internal/shape":    0,
	"internal/terminal": 0,
	"internal/pace":     0,

	"internal/issuance": 1,
	"internal/awsjson":  1,
	"internal/awsquery": 1,
	"internal/store":    1,
	"internal/bucket":   1,

	"internal/ca":              2,
	"internal/identity":        2,
	"internal/proof":           2,
	"internal/witness":         2,
	"internal/anchor":          2,
	"internal/inventory":       2,
	"internal/store/storetest": 2,

	"internal/auditreport": 3,
	"internal/auditlog":    3,
	"internal/crl":         3,
	"internal/ocsp":        3,

	"internal/server":  4,
	"internal/console": 4,
	"internal/fsck":    4,

	"internal/bench": 5, // starts and seeds servers for those below

	"cmd":     6,
	"bench":   6,
	"crash":   6,
	"clients": 6,
}

func TestLayers(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Doc,Name", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			ImportPath, Doc, Name string
			Imports               []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		path, ok := strings.CutPrefix(p.ImportPath, module)
		if !ok {
			continue // the root holds tests only
		}
		room, floor, ok := roomOf(path)
		if !ok {
			t.Errorf("%s stands on no floor: enter it in the table", path)
			continue
		}
		if p.Doc == "" {
			t.Errorf("%s has no package comment", path)
		}
		for _, imp := range p.Imports {
			imp, ok := strings.CutPrefix(imp, module)
			if !ok {
				continue
			}
			other, below, ok := roomOf(imp)
			if ok && other != room && below >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d)", path, floor, imp, below)
			}
		}
	}
}

// roomOf finds the longest entry of the table that path is or lies below.
func roomOf(path string) (room string, floor int, ok bool) {
	for {
		if f, ok := floors[path]; ok {
			return path, f, true
		}
		i := strings.LastIndexByte(path, '/')
		if i < 0 {
			return "", 0, false
		}
		path = path[:i]
	}
}
