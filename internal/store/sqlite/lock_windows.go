package sqlite

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes the exclusive lock of an open file, which ends with the file's
// handle and so with the process, however that ends. It reports false when
// someone else has it. The locked byte lies far behind the pid, which stays
// readable.
func tryLock(f *os.File) (bool, error) {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{Offset: 1 << 30})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// unlock ends the lock and closes the file.
func unlock(f *os.File) error { return f.Close() }

// syncDir does nothing: Windows makes names durable by itself and cannot sync
// a folder.
func syncDir(string) error { return nil }
