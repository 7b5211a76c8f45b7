//go:build !linux

package auditreport

// lowerPriority does nothing where threads have no priority of their own.
func lowerPriority() {}
