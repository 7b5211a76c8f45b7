package identity

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
)

// seal makes a text that only this server can have made, for one purpose.
func (s *Service) seal(purpose string, plain []byte) string {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	rand.Read(nonce)
	return base64.StdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, plain, []byte(purpose)))
}

// open reads what seal made for the purpose.
func (s *Service) open(purpose, sealed string) (plain []byte, ok bool) {
	b, err := base64.StdEncoding.Strict().DecodeString(sealed)
	if err != nil || len(b) < s.aead.NonceSize() {
		return nil, false
	}
	n := s.aead.NonceSize()
	plain, err = s.aead.Open(nil, b[:n], b[n:], []byte(purpose))
	return plain, err == nil
}

// defaultItems is IAM's page when a request does not say.
const defaultItems = 100

// begin reads the paging members of a request: a page of limit items begins
// after the item with the key after. scope is the list, and all that selects
// from it: a marker of one list is none of another.
func (s *Service) begin(p Page, scope ...string) (after string, limit int, err error) {
	if limit = p.MaxItems; limit <= 0 {
		limit = defaultItems
	}
	if p.Marker == "" {
		return "", limit, nil
	}
	plain, ok := s.open("marker "+strings.Join(scope, "\x00"), p.Marker)
	if !ok {
		return "", 0, invalid("Invalid Marker.")
	}
	return string(plain), limit, nil
}

func (s *Service) next(after string, scope ...string) NextPage {
	return NextPage{IsTruncated: true, Marker: s.seal("marker "+strings.Join(scope, "\x00"), []byte(after))}
}

// page cuts a page out of a sorted list.
func page[T any](s *Service, p Page, list []T, key func(T) string, scope ...string) ([]T, NextPage, error) {
	after, limit, err := s.begin(p, scope...)
	if err != nil {
		return nil, NextPage{}, err
	}
	if after != "" {
		for len(list) > 0 && key(list[0]) <= after {
			list = list[1:]
		}
	}
	if len(list) <= limit {
		return list, NextPage{}, nil
	}
	return list[:limit], s.next(key(list[limit-1]), scope...), nil
}

// pages gathers a page of a long list: read gives the items after a key, a
// batch at a time; keep filters them.
func pages[T any](s *Service, p Page, read func(after string, limit int) ([]T, error), key func(T) string, keep func(T) bool, scope ...string) ([]T, NextPage, error) {
	after, limit, err := s.begin(p, scope...)
	if err != nil {
		return nil, NextPage{}, err
	}
	var out []T
	for {
		batch, err := read(after, defaultItems)
		if err != nil {
			return nil, NextPage{}, err
		}
		for _, item := range batch {
			if after = key(item); !keep(item) {
				continue
			}
			if len(out) == limit {
				return out, s.next(key(out[limit-1]), scope...), nil
			}
			out = append(out, item)
		}
		if len(batch) < defaultItems {
			return out, NextPage{}, nil
		}
	}
}
