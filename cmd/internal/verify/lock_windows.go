package verify

import (
	"os"

	"golang.org/x/sys/windows"
)

// lock waits for the exclusive lock of an open file, which ends with it.
func lock(f *os.File) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, &windows.Overlapped{})
}
