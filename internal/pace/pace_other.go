//go:build !linux

package pace

// GiveWay does nothing where threads have no priority of their own.
func GiveWay() {}
