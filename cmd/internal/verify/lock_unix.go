//go:build unix

package verify

import (
	"errors"
	"os"
	"syscall"
)

// lock waits for the exclusive lock of an open file, which ends with it.
func lock(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
