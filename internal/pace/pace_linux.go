package pace

import (
	"runtime"
	"syscall"
)

// lower is by how much the niceness of threads that give way is above the
// server's: beside a thread of the server each gets about a tenth of a processor.
const lower = 10

// GiveWay makes the calling goroutine, until it ends, give way to all others
// when there is not processor enough for all. Its thread, which on Linux has a
// priority of its own, could not be made what it was without privileges, so it
// ends with the goroutine.
func GiveWay() {
	runtime.LockOSThread()
	now, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0) // of this thread; 20 less its niceness, says the kernel
	if err != nil {
		return // a sandbox that knows no priorities: the work has its full share
	}
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, min(20-now+lower, 19))
}
