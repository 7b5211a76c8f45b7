package ca

import (
	"errors"
	"testing"

	"chirograph.dev/internal/pca"
)

// FuzzPageToken: a token opens what was sealed, for its own list, and nothing
// else opens.
func FuzzPageToken(f *testing.F) {
	s := &Service{Config: Config{PageKey: [32]byte{1}}}
	other := &Service{Config: Config{PageKey: [32]byte{2}}}
	first := page{Created: 1526401743081, ID: "11223344-1234-1122-2233-112233445566"}
	f.Add(s.sealPage("ListTags/1/a", first), "ListTags/1/a", "key")
	f.Add(other.sealPage("ListTags/1/a", first), "ListTags/1/a", "")
	f.Add("bm90aGluZw", "", "\xff")
	f.Add(s.sealPage("", page{})+"\n", "", "\u2028")
	f.Fuzz(func(t *testing.T, token, scope, key string) {
		var p page
		if err := s.openPage(scope, token, &p); err == nil {
			if s.sealPage(scope, p) != token || other.openPage(scope, token, &p) == nil || s.openPage(scope+"/", token, &p) == nil {
				t.Fatalf("%q opens", token)
			}
		} else if e, ok := errors.AsType[*pca.Error](err); !ok || e.Code != pca.InvalidNextTokenException {
			t.Fatal(err)
		}
		sealed := s.sealPage(scope, page{Created: int64(len(token)), ID: key})
		if err := s.openPage(scope, sealed, &p); err != nil || p.Created != int64(len(token)) {
			t.Fatalf("%q does not open: %v", sealed, err)
		}
	})
}
