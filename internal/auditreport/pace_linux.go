package auditreport

import (
	"runtime"
	"syscall"
)

// niceness of the threads that write reports: beside threads of ordinary
// priority they get about a tenth of a processor.
const niceness = 10

// lowerPriority lowers the priority of the calling goroutine's thread, which on
// Linux has one of its own. It could not be raised again without privileges, so
// the thread ends with the goroutine.
func lowerPriority() {
	runtime.LockOSThread()
	// A kernel or sandbox that refuses leaves the priority as it is.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), niceness)
}
