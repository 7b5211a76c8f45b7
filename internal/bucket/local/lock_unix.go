//go:build unix

package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// lockFolder holds the folder for this process; the lock ends with the process.
func lockFolder(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the bucket folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.New("the bucket folder is in use by another process: end it, or choose another folder")
		}
		return nil, fmt.Errorf("locking the bucket folder: %w", err)
	}
	return folderLock{f}, nil
}

// folderLock is the lock of a folder.
type folderLock struct{ *os.File }

// Close ends the lock, too: a program that is being started just now has a copy
// of the descriptor, which would keep it.
func (l folderLock) Close() error {
	return errors.Join(syscall.Flock(int(l.Fd()), syscall.LOCK_UN), l.File.Close())
}
