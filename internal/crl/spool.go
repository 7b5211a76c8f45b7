package crl

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// spoolMemory is how much of a list's entries is in memory before they go to a file.
const spoolMemory = 1 << 20

// spool takes the entries of a list, whose number must be known before what
// comes before them can be written.
type spool struct {
	dir    string
	length int64
	count  uint64

	buffer []byte
	file   *os.File // nil: all is in buffer
}

// room makes room for one more entry and gives the buffer to append it to.
func (s *spool) room() ([]byte, error) {
	if cap(s.buffer) == 0 {
		s.buffer = make([]byte, 0, 1<<14)
	}
	if len(s.buffer)+maxEntry > spoolMemory {
		if err := s.flush(); err != nil {
			return nil, err
		}
	}
	return s.buffer, nil
}

// put takes back the buffer with an entry in it.
func (s *spool) put(buffer []byte) {
	s.length += int64(len(buffer) - len(s.buffer))
	s.count++
	s.buffer = buffer
}

func (s *spool) flush() (err error) {
	if s.file == nil {
		if s.file, err = os.CreateTemp(s.dir, spoolPrefix+"*"); err != nil {
			return err
		}
	}
	_, err = s.file.Write(s.buffer)
	s.buffer = s.buffer[:0]
	return err
}

// reader gives the entries from the first.
func (s *spool) reader() io.Reader {
	if s.file == nil {
		return bytes.NewReader(s.buffer)
	}
	return io.MultiReader(io.NewSectionReader(s.file, 0, s.length-int64(len(s.buffer))), bytes.NewReader(s.buffer))
}

// close deletes the file; after a crash New does.
func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Close(), os.Remove(s.file.Name()))
}
