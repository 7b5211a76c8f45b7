package auditreport

// giveWay makes the calling goroutine, until it ends, give way to all others
// when there is not processor enough for all: a report that is written takes
// what is left, and a small share when nothing is. Whoever calls it works for
// milliseconds, and ends or blocks where nobody waits for a lock that it holds.
func giveWay() { lowerPriority() }
